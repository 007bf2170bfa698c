"""The whole method on PartShapes, the data set in the package, with every control beside it.

The drawings are written as photographs and COCO files, and from there on everything is as with one's own:
nothing but the last table reads a part label (and the supervised baseline, which is there to be compared).
"""

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from partdistillation import pipeline
from partdistillation.baselines.beside import learned
from partdistillation.config import Device, Inputs, Recipe
from partdistillation.data.images import load_image_of
from partdistillation.evaluation.controls import (
    Measured,
    Validation,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
    segment_rows,
)
from partdistillation.experiments.demo_tables import claims, grid, save_tables, tables, wanted
from partdistillation.part_shapes import write_coco
from partdistillation.pictures.sizes import contact_sheet
from partdistillation.recipes import DEMO, seeded
from partdistillation.report import run as run_report
from partdistillation.report.build import build_report
from partdistillation.report.data import ReportData, Table
from partdistillation.report.examples import pictures
from partdistillation.report.galleries import Finding
from partdistillation.report.label_maps import LabelMap, part_map, proposal_map, segment_map
from partdistillation.report.objects_found import GAP, label_cell
from partdistillation.report.ways import PART_MODEL
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.console import PlainConsole, words
from partdistillation.runs.records import PartRow, ProposalRow, Row
from partdistillation.runs.run_folder import VALIDATION
from partdistillation.runs.stage_log import seconds
from partdistillation.runs.stage_reader import read_rows
from partdistillation.runs.terminal import say
from partdistillation.stages import proposals

SUMMARY = (
    "Drawings of eight kinds of things, whose parts the method finds without a part label. All that is shown "
    "here are images that nothing was learned from."
)
COLUMNS = (
    "Every table below is of drawings that nothing was learned from, in percent. AR@k: how well an "
    "image's k best masks cover its true parts (average recall). mIoU: how well the parts of a name "
    "do, on average over object classes (C) or parts (A); with *, by the paper's protocol. Controls "
    "have learned nothing, baselines something else."
)
_SHOWN = 8
_STAGE0_SEED, _FIRST_SEED = 1_000, 10_000
"""Seeds of the drawings for stage 0, one a run, and for the rest, ten a run: none is used twice."""


@dataclass(frozen=True)
class Plan:
    """The demo's size."""

    train: int = 640
    """Images that the method learns from."""
    val: int = 150
    """Images that it is measured on."""
    pretrain: int = 8_000
    """Images that stage 0 learns from, where it isn't loaded."""
    size: int = 128
    """Side of the images, in pixels."""
    recipe: Recipe = DEMO


WHOLE = Plan()


@dataclass
class Story:
    """What is told as it happens: the table's rows and the seconds each thing took."""

    console: PlainConsole = field(default_factory=PlainConsole)
    measured: list[Measured] = field(default_factory=list)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Say what is going on, and how long it took."""
        self.console.rule(words(title, "bold"), align="left")
        start = time.monotonic()
        yield
        self.console.print(f"{time.monotonic() - start:.1f} s", style="dim")

    def tell(self, measured: Sequence[Measured]) -> None:
        """Add rows to the table and print them."""
        self.measured += measured
        self.console.print(*grid(measured).printed())


def run(
    out: Path, *, seed: int, from_scratch: bool, device: Device, workers: int, plan: Plan = WHOLE
) -> Path:
    """Draw PartShapes into `out/data`, run stages 1 to 5 and every control, and return the report's page.

    Run again to resume. `from_scratch` trains stage 0 too, instead of loading the weights in the package.
    """
    story = Story()
    recipe = seeded(plan.recipe, seed)
    data = out / "data"
    inputs = inputs_of(out, data, device=device, workers=workers)  # remembered with the held-out drawings
    with story.chapter("PartShapes: the drawings"):
        draw(plan, data, seed, workers)
    if from_scratch:
        with story.chapter("Stage 0: instance segmentation"):
            recipe = replace(recipe, encoder=str(pretrain(plan, recipe, out, seed, device)))
    validation = Validation(replace(_inputs(out, data, "val", device, workers), out=out / VALIDATION), recipe)
    story.console.print(COLUMNS)
    _segments(story, inputs, recipe, validation)
    with learned(replace(inputs, workers=1), recipe, beside=workers > 1) as baselines:
        _parts(story, inputs, recipe, validation)
        for name, learn in baselines.items():
            title = name.replace("_", "-")
            with story.chapter(f"Baseline: {title}"):
                story.tell([measure_parts(validation, learn(), name, title, "baseline")])
    results = tables(story.measured)
    save_tables(out, results, story.measured)
    with story.chapter("Report"):
        report = _report(inputs, recipe, validation, story.measured, results)
        page = build_report(report, out / run_report.FOLDER)
    for line in claims(story.measured):
        story.console.print(str(line))
    say(f"Open {page}")
    return page


# ---------------------------------------------------------------------- data


def draw(plan: Plan, data: Path, seed: int, workers: int = 1) -> None:
    """Write the splits, each of a seed of its own, where they aren't yet."""
    for place, (split, count) in enumerate({"train": plan.train, "val": plan.val}.items()):
        _write(data, split, count, plan.size, _FIRST_SEED + 10 * seed + place, workers)


def _write(data: Path, split: str, count: int, size: int, seed: int, workers: int = 1) -> None:
    """Write a split; `SPLIT.json`, written last, says which one is there."""
    made = json.dumps({"seed": seed, "count": count, "size": size}).encode()
    stamp = data / f"{split}.json"
    if not stamp.exists() or stamp.read_bytes() != made:
        write_coco(data, split, seed=seed, count=count, size=size, workers=workers)
        replace_file(stamp, made)


def inputs_of(out: Path, data: Path, *, device: Device, workers: int) -> Inputs:
    """Both splits: to learn from, and held out."""
    held_out = _inputs(out, data, "val", device, workers)
    return replace(
        _inputs(out, data, "train", device, workers),
        val_images=held_out.images,
        val_objects=held_out.objects,
        val_parts=held_out.parts,
    )


def _inputs(out: Path, data: Path, split: str, device: Device, workers: int) -> Inputs:
    return Inputs(
        out=out,
        images=data / split,
        objects=data / f"objects_{split}.json",
        parts=data / f"parts_{split}.json",
        device=device,
        workers=workers,
    )


def pretrain(plan: Plan, recipe: Recipe, out: Path, seed: int, device: Device) -> Path:
    """Train stage 0 on drawings of its own, in `out/stage0`; its warm-up learns the classes' varieties."""
    folder = out / "stage0"
    _write(folder / "data", "train", plan.pretrain, plan.size, _STAGE0_SEED + seed)
    inputs = replace(_inputs(folder, folder / "data", "train", device, 1), parts=None)
    finer = replace(recipe.pretrain.warmup, objects=str(folder / "data" / "varieties_train.json"))
    recipe = replace(recipe, pretrain=replace(recipe.pretrain, warmup=finer))
    return pipeline.pretrain(inputs, recipe)


# ---------------------------------------------------------------------- the method and its controls


def _segments(story: Story, inputs: Inputs, recipe: Recipe, validation: Validation) -> None:
    with story.chapter("Stage 1: objects"):
        pipeline.objects(replace(inputs, workers=1), recipe)
        validation.prepare()
    with story.chapter("Stage 2: segments"):  # of other processes only these are worth the start
        pipeline.segments(inputs, recipe)
    with story.chapter("Stage 2 on the validation images, with its controls"):
        story.tell([measure_whole_objects(validation), *measure_segments(validation)])
        _show(validation, "segments", ((row, segment_map(row)) for row in segment_rows(validation)))


def _parts(story: Story, inputs: Inputs, recipe: Recipe, validation: Validation) -> None:
    """Stages 3 to 5, each measured on the validation images as soon as it is there."""
    with story.chapter("Stage 3: proposals"):
        pipeline.proposals(inputs, recipe)
        story.tell(measure_proposals(validation, inputs.out / proposals.FOLDER))
        rows = read_rows(validation.inputs.out / "proposals", ProposalRow)
        _show(validation, "proposals", ((row, proposal_map(row)) for row in rows))
    with story.chapter("Stage 4: ranking"):
        pipeline.rank(replace(inputs, workers=1), recipe)
    with story.chapter("Stage 5: the part model"):
        model = pipeline.distill(inputs, recipe)
        story.tell([measure_parts(validation, model, "parts", "part model", "result")])
        parts = read_rows(validation.inputs.out / "parts", PartRow)
        _show(validation, "parts", ((row, part_map(row)) for row in parts))


def _show(validation: Validation, name: str, labelled: Iterable[tuple[Row, LabelMap]]) -> None:
    """Write a sheet of the first drawings with these labels, and say where it is."""
    images_dir = validation.inputs.need("images")
    cells = [
        label_cell(load_image_of(images_dir / row.file_name, row.height, row.width), labels, name)
        for row, labels in islice(labelled, _SHOWN)
    ]
    buffer = io.BytesIO()
    contact_sheet(cells, columns=_SHOWN // 2, gap=GAP, margin=GAP).save(buffer, "PNG")
    path = validation.inputs.out.parent / f"{name}.png"
    replace_file(path, buffer.getvalue())
    say(f"Look at {path}")


# ---------------------------------------------------------------------- report


def _report(
    inputs: Inputs,
    recipe: Recipe,
    validation: Validation,
    measured: Sequence[Measured],
    results: Sequence[Table],
) -> ReportData:
    """The run's report, with what was measured, and pictures of validation images."""
    images_dir, folder = validation.inputs.need("images"), validation.inputs.out
    report = run_report.in_words(inputs, recipe, seconds=seconds(inputs.out))._replace(
        tables=(*results, wanted(claims(measured))),
        pictures=pictures(
            validation.objects_dir,
            images_dir,
            {
                "segments": (segment_rows(validation), segment_map),
                "proposals": (read_rows(folder / "proposals", ProposalRow), proposal_map),
                "parts": (read_rows(folder / "parts", PartRow), part_map),
            },
        ),
    )
    finding = Finding.of(validation.objects_dir, folder / "parts")
    notes = _part_notes(next(way for way in measured if way.name == PART_MODEL))
    report = run_report.with_galleries(report, finding, images_dir, notes)
    return report._replace(
        title="Parts discovered in PartShapes", summary=SUMMARY, finding=finding.headline("drawing")
    )


def _part_notes(measured: Measured) -> Mapping[tuple[str, int], str]:
    """The true part that the majority vote maps each part class to."""
    return {
        (category.category, part_id): f"mostly {name}"
        for category in measured.strict.categories
        for part_id, name in category.names.items()
    }
