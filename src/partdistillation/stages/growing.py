"""Object classes for a part model that is there already: the old ones stay as they are, bit for bit.

New photographs are labelled as in stages 1 and 4, with the proposal model of the run that the part model is
of. Then stage 5 learns, but nothing except the part rows of the new classes. What all classes share (the
decoders, the queries and with them every mask, the row of "no object") stays as the old classes need it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from partdistillation.config import Inputs, ObjectFiles, Recipe
from partdistillation.data.examples import LabelledImages
from partdistillation.data.image_folder import scan
from partdistillation.errors import ConfigError, InputError, SettingsChanged
from partdistillation.models.devices import choose_device
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo, read_info
from partdistillation.objects import OBJECTS_MODEL
from partdistillation.objects.object_features import add_means
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.runs.atomic import make_folder, new_folder
from partdistillation.runs.claims import by_one
from partdistillation.runs.digests import TRAINING, file_digest, model_files, write_digests
from partdistillation.runs.manifest import Json
from partdistillation.runs.notes import read_note
from partdistillation.runs.part_table import FILE as TABLE
from partdistillation.runs.part_table import ClassParts, PartTable, read_part_table, write_part_table
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.run_folder import OBJECTS, PART_MODEL, PARTS, PROPOSAL_MODEL, run_of
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.runs.terminal import say
from partdistillation.runs.verdicts import FILE as VERDICTS
from partdistillation.stages import distillation, objects
from partdistillation.stages.distillation import part_ids, part_images
from partdistillation.training.loop import Run, is_finished, train
from partdistillation.training.objective import SetPrediction

RATE = 3
"""How many times faster rows alone learn than a whole network: nothing moves beneath them."""
_REVIEWED = VERDICTS.parent / TABLE
"""In a run's folder: what people decided on its part classes."""


@dataclass(frozen=True)
class Base:
    """What is grown."""

    model: Path
    """A part model's folder."""
    run: Path
    """The folder of the run that it is of."""
    info: ModelInfo

    @property
    def proposals(self) -> Path:
        """The model that both the old and the new parts are proposed by."""
        return self.run / PROPOSAL_MODEL

    def fitted(self, inputs: Inputs, recipe: Recipe) -> Recipe:
        """The old run's recipe for the new photographs.

        Objects that are given count, even where that run found its own. And there are no more part classes an
        object class than the model has rows for.
        """
        if inputs.objects is not None and recipe.objects.source not in get_args(ObjectFiles):
            recipe = replace(recipe, objects=replace(recipe.objects, source="annotations"))
        most = self.info.num_parts
        if recipe.ranking.num_parts <= most:
            return recipe
        say(f"The model has {most} part classes an object class, so new ones get no more", stderr=True)
        return replace(recipe, ranking=replace(recipe.ranking, num_parts=most))


def read_base(model: Path, out: Path) -> Base:
    """The part model to grow, and its run.

    Raises:
        InputError: it isn't a part model in a run's folder, or the run's proposal model isn't that which it
            is of.
        CheckpointError: it can't be read.
        ConfigError: `out` is the run's own folder.
    """
    run = run_of(model)
    if run is None or not (run / PROPOSAL_MODEL).is_dir():
        raise InputError(
            f"{model}: expected the part model in a run's folder (OUT/{PART_MODEL}), with the run's "
            f"{PROPOSAL_MODEL} beside it, which proposes the new parts; found "
            + ("no run around it" if run is None else f"no {PROPOSAL_MODEL} in {run}")
        )
    info = read_info(model)
    if info.head != "parts":
        raise InputError(f"{model}: expected a part model, found a model without part classes")
    base = Base(model.absolute(), run, info)
    if read_note(model / TRAINING).get("initial") != [contents_hash(base.proposals)]:
        raise InputError(
            f"{base.proposals}: expected the proposal model that {model} was trained from, found another one"
        )
    if out.resolve() == run.resolve():
        raise ConfigError(f"--out: expected a new folder for the model that is grown, found its run, {run}")
    return base


def require_new(base: Base, inputs: Inputs, recipe: Recipe) -> None:
    """Make sure that no class folder of photographs is of a class that the model has.

    Of annotated photographs it doesn't matter: their other objects are left out.

    Raises:
        InputError: one is.
    """
    if recipe.objects.source == "annotations":
        return
    folders = scan(inputs.need("images"), inputs.out).categories
    there = [name for name in folders if name in base.info.class_names]
    if there:
        raise InputError(
            f"{inputs.images}: expected photographs of new object classes, found folders of "
            f"{', '.join(there)}, which {base.model} has already. Take them away; to learn old classes from "
            "more photographs, start a new run with all of them"
        )


def take_proposal_model(base: Base, inputs: Inputs) -> Path:
    """Copy the proposal model into `out`, so that what is grown is a run that can be grown in turn.

    Raises:
        SettingsChanged: there is another one.
    """
    folder = inputs.out / PROPOSAL_MODEL
    with by_one(inputs, PROPOSAL_MODEL, done=folder.exists):
        if not folder.exists():
            with new_folder(folder) as place:
                shutil.copytree(base.proposals, place, dirs_exist_ok=True, copy_function=shutil.copyfile)
    if contents_hash(folder) != contents_hash(base.proposals):
        raise SettingsChanged(
            f"{folder} is another proposal model than {base.proposals}: choose another --out, or delete "
            f"{inputs.out} to begin anew"
        )
    return folder


def run(inputs: Inputs, recipe: Recipe, base: Base) -> Path:
    """Write `out/part_model`: the old part model with the new classes after the old ones.

    Names and other decisions of people on the old part classes are kept: in the model's folder, where it has
    a part table, and in the run's review.

    Raises:
        InputError: no part is large enough to be learned.
        SettingsChanged: the model was trained, or begun, with other settings, parts or from another model.
    """
    objects.require_unchanged(inputs)
    model = _learn(inputs, recipe, base)
    old, own = base.model / TABLE, base.run / _REVIEWED
    reviewed = own if base.model.parent == base.run and not old.is_file() else old
    names = part_ids(inputs.out / PARTS[0])
    for source, copy in ((old, model / TABLE), (reviewed, inputs.out / _REVIEWED)):
        if source.is_file() and not copy.exists():
            make_folder(copy.parent)
            write_part_table(copy, with_classes(read_part_table(source), tuple(names)))
    return model


def with_classes(table: PartTable, names: Sequence[str]) -> PartTable:
    """A part table in which new object classes are, so far without decisions."""
    return PartTable({**table.classes, **{name: ClassParts() for name in names}})


def _learn(inputs: Inputs, recipe: Recipe, base: Base) -> Path:
    config, device = recipe.distillation, choose_device(inputs.device)
    objects_dir, parts_dir = inputs.out / OBJECTS, inputs.out / PARTS[0]
    weights = [path for path in model_files(base.model) if path.name not in (TABLE, TRAINING)]
    depends_on: dict[str, Json] = {
        "settings": {**config.fingerprint(), "rate": RATE},
        "exact_rows": recipe.distillation.exact_rows,
        "objects": contents_hash(objects_dir),
        "parts": contents_hash(parts_dir),
        "initial": [contents_hash(inputs.out / PROPOSAL_MODEL)],
        "grown": [file_digest(path) for path in weights],
    }
    training = Run(inputs.out, distillation.STAGE.name, inputs.out / PART_MODEL, depends_on)
    if is_finished(training):
        return training.model_dir
    parts = part_ids(parts_dir)
    images = part_images(objects_dir, parts_dir, tuple(parts), config)
    config = replace(config.limited(len(images)), learning_rate=RATE * config.learning_rate)
    samples = LabelledImages(inputs.need("images"), images, config)
    old = PartMask2Former.from_pretrained(base.model)
    new = old.with_classes(tuple(parts), seed=config.seed)
    assert isinstance(new.class_predictor, PartHead)
    new.class_predictor.keep_only(tuple(parts.values()))
    new.to(device)
    return train(
        new,
        samples,
        SetPrediction(new, config, device),
        config,
        training,
        save=lambda path: _save(old.extended(new), path, base, inputs, config.steps),
        device=device,
        exact_rows=recipe.distillation.exact_rows,
    )


def _save(grown: PartMask2Former, path: Path, base: Base, inputs: Inputs, steps: int) -> None:
    """The grown model, and what finds the objects: salient ones it tells apart by means, new ones too."""
    added = grown.info.class_names[len(base.info.class_names) :]
    stage = distillation.STAGE.name
    grown.save_pretrained(path, metadata={"stage": stage, "steps": steps, "Grown by": ", ".join(added)})
    finder = base.model / OBJECTS_MODEL
    if finder.is_dir():
        folder = path / OBJECTS_MODEL
        shutil.copytree(finder, folder, copy_function=shutil.copyfile)
        if (folder / MEANS).is_file():
            rows = read_rows(inputs.out / OBJECTS, ObjectRow)
            add_means(folder, grown, rows, inputs.need("images"))
            write_digests(folder)
