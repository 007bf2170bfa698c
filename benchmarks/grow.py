"""How good object classes are that a part model is grown by, and whether the old ones stay as they are.

    python benchmarks/grow.py --out OUT [--seeds 0] [--new bicycle horse bird] [--small]

On PartShapes, by the recipe `demo`. A run learns some of the eight kinds of things from 480 drawings; it is
then grown by the others, from 240 more. Beside it:

- *at once*: one run learns all kinds from the same objects in the same drawings, with as many steps;
- *every weight goes on*: the old part model goes on learning on the new drawings, with as many steps as are
  grown, and then has the old part rows back, as people do who don't freeze anything;
- *rows not trained*: what is left where growing is stopped after a step;
- *stage 4*: proposals of the validation drawings with the nearest part class, which the rows are to learn.

C-mIoU, by the strict protocol, on 150 drawings that nothing was learned from, of the old classes and of the
new ones. With `--small` a third of the drawings and of the steps. Everything is resumable.
"""

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation.controls import Measured, Validation, measure_parts
from partdistillation.evaluation.run import labelled_parts
from partdistillation.evaluation.tables import Grid, Record, by, cell
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.part_shapes import PartShapes, write_coco
from partdistillation.recipes import DEMO, seeded
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.records import PartRow, ProposalRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import candidates, distillation, part_classes, ranking

OLD, NEW, VAL = 480, 240, 150
FIRST_SEED = 20_000
NEW_KINDS = ("bicycle", "horse", "bird")
COLUMNS = ("old classes", "new classes")


@dataclass(frozen=True)
class Case:
    """A seed's drawings, and where its runs are."""

    out: Path
    seed: int
    new: tuple[str, ...]
    recipe: Recipe
    images: tuple[int, int, int]

    @property
    def old(self) -> tuple[str, ...]:
        return tuple(name for name in PartShapes.CATEGORIES if name not in self.new)

    @property
    def data(self) -> Path:
        return self.out / "data"

    def inputs(self, run: str, objects: str) -> Inputs:
        """Of a run; names of images are relative to the folder of all drawings."""
        return Inputs(out=self.out / run, images=self.data, objects=self.data / objects, device="cpu")

    def draw(self) -> None:
        """Write drawings and annotations; `all.json`, written last, says that they are there."""
        if (self.data / "all.json").exists():
            return
        for place, (split, count) in enumerate(zip(("old", "new", "val"), self.images, strict=True)):
            write_coco(self.data, split, seed=FIRST_SEED + 10 * self.seed + place, count=count, size=128)
        first = _of_classes(self.data / "objects_old.json", "old", self.old)
        second = _of_classes(self.data / "objects_new.json", "new", self.new)
        both = _joined(first, second)
        for name, content in (("first", first), ("second", second), ("all", both)):
            replace_file(self.data / f"{name}.json", json.dumps(content).encode())


def _of_classes(path: Path, split: str, names: Collection[str]) -> dict[str, Any]:
    """An annotation file with some object classes alone, and images named from the folder above."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    ids = {category["id"] for category in content["categories"] if category["name"] in names}
    return {
        "images": [{**image, "file_name": f"{split}/{image['file_name']}"} for image in content["images"]],
        "categories": [category for category in content["categories"] if category["id"] in ids],
        "annotations": [entry for entry in content["annotations"] if entry["category_id"] in ids],
    }


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both files as one: ids of the second go on from those of the first."""
    categories = {
        entry["name"]: place for place, entry in enumerate(first["categories"] + second["categories"])
    }
    images: list[Any] = []
    annotations: list[Any] = []
    for content in (first, second):
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        start = len(images)
        place = {entry["id"]: start + number for number, entry in enumerate(content["images"], start=1)}
        images += [{**entry, "id": place[entry["id"]]} for entry in content["images"]]
        for entry in content["annotations"]:
            of = {
                "image_id": place[entry["image_id"]],
                "category_id": categories[names[entry["category_id"]]],
            }
            annotations.append({**entry, "id": len(annotations) + 1, **of})
    entries = [{"id": place, "name": name} for name, place in categories.items()]
    return {"images": images, "categories": entries, "annotations": annotations}


def main() -> None:
    """Run the seeds that aren't there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--new", nargs="+", choices=PartShapes.CATEGORIES, default=["bicycle", "horse", "bird"]
    )
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    records: list[Record] = []
    for seed in arguments.seeds:
        case = _case(arguments.out / f"seed-{seed}", seed, tuple(arguments.new), small=arguments.small)
        case.draw()
        records += _measured(case)
    rows = [
        (str(name), *(cell(scores, score=score) for score in COLUMNS))
        for (name,), scores in by(records, "name").items()
    ]
    print(Grid(("C-mIoU", *COLUMNS), {"": rows}).markdown())


def _case(out: Path, seed: int, new: tuple[str, ...], *, small: bool) -> Case:
    recipe, part = seeded(DEMO, seed), 3 if small else 1
    recipe = replace(
        recipe,
        proposals=replace(recipe.proposals, steps=recipe.proposals.steps // part),
        distillation=replace(recipe.distillation, steps=recipe.distillation.steps // part),
    )
    return Case(out, seed, new, recipe, (OLD // part, NEW // part, VAL))


def _measured(case: Case) -> Iterator[Record]:
    """A row a way, on the validation's drawings."""
    recipe = case.recipe
    before, after, once = (case.inputs(run, f"{file}.json") for run, file in _RUNS.items())
    untrained = replace(after, out=case.out / "untrained")
    short = replace(recipe, distillation=replace(recipe.distillation, steps=1))
    for inputs in (before, once):
        pipeline.objects(inputs, recipe)
        pipeline.segments(inputs, recipe)
        pipeline.proposals(inputs, recipe)
        pipeline.rank(inputs, recipe)
        pipeline.distill(inputs, recipe)
    old = before.out / distillation.FOLDER
    grown = pipeline.grow(after, recipe, old)
    models = {
        "before growing": old,
        "grown": grown,
        "at once": once.out / distillation.FOLDER,
        "control: every weight goes on": _gone_on(case, after, old),
        "control: rows not trained": pipeline.grow(untrained, short, old),
    }
    validation = _validation(case)
    for name, model in models.items():
        folder = f"parts-{name.replace(' ', '-').replace(':', '')}"
        yield from _record(case, name, measure_parts(validation, model, folder, name, "result"))
    for name, inputs in (("stage 4, grown", after), ("stage 4, at once", once)):
        yield from _record(case, name, _stage_4(validation, name, inputs, recipe))
    same = "the same" if _unchanged(validation, case) else "OTHERS"
    print(f"seed {case.seed}: the parts of old classes are {same} as before growing")


_RUNS = {"before": "first", "grown": "second", "once": "all"}
"""The annotations of each run."""


def _validation(case: Case) -> Validation:
    inputs = Inputs(
        out=make_folder(case.out / "val"),
        images=case.data / "val",
        objects=case.data / "objects_val.json",
        parts=case.data / "parts_val.json",
        device="cpu",
    )
    validation = Validation(inputs, case.recipe)
    validation.prepare()
    return validation


def _gone_on(case: Case, after: Inputs, old: Path) -> Path:
    """The old model with all of its weights learned on the new drawings, and its own part rows back."""
    out = case.out / "gone-on"
    if not (out / "model").exists():
        lesson = distillation.lesson(after, case.recipe)
        known = PartMask2Former.from_pretrained(old)
        lesson = replace(
            lesson, initial=str(old), num_parts=known.info.num_parts, model=out / "learned", objects_model=""
        )
        learned = PartMask2Former.from_pretrained(distillation.learn_parts(lesson, after))
        known.model = learned.model
        known.extended(learned).save_pretrained(out / "model")
    return out / "model"


def _stage_4(validation: Validation, name: str, inputs: Inputs, recipe: Recipe) -> Measured:
    """What a run's proposal model and part classes make of the validation's drawings."""
    place = replace(validation.inputs, out=validation.inputs.out / name.replace(" ", "-").replace(",", ""))
    model = inputs.out / "proposal_model"
    features = candidates.collect(place, recipe, model_dir=model, objects_dir=validation.objects_dir)
    centroids = part_classes.read(inputs.out / part_classes.FOLDER)
    rows = (ranking.part_row(row, centroids, recipe.ranking) for row in read_rows(features, ProposalRow))
    return validation.score(name, "result", map(labelled_parts, rows))


def _record(case: Case, name: str, measured: Measured) -> Iterator[Record]:
    scores = {category.category: category.miou for category in measured.strict.categories}
    for column, names in zip(COLUMNS, (case.old, case.new), strict=True):
        value = sum(scores[category] for category in names) / len(names)
        yield {"name": name, "score": column, "value": value}


def _unchanged(validation: Validation, case: Case) -> bool:
    """Whether all parts of the old classes' objects, with masks and scores, are those of the old model."""
    of_old, of_grown = (
        [
            labelled
            for row in read_rows(validation.inputs.out / folder, PartRow)
            for labelled in row.objects
            if labelled.category in case.old
        ]
        for folder in ("parts-before-growing", "parts-grown")
    )
    return of_old == of_grown


if __name__ == "__main__":
    main()
