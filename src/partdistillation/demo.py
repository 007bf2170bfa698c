"""The whole method on PartShapes, the data set in the package, with every control beside it.

The drawings are written as photographs and COCO files, and from there on everything is as with one's own:
nothing but the last table reads a part label (and the supervised baseline, which is there to be compared).
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Thread

import torch
from rich.console import Console
from rich.table import Table as Printed

from partdistillation import pipeline
from partdistillation.atomic import replace_file
from partdistillation.baselines import one_stage, supervised
from partdistillation.config import Device, Inputs, Recipe
from partdistillation.controls import (
    Measured,
    Validation,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
    segment_rows,
)
from partdistillation.data.part_shapes import write_coco
from partdistillation.errors import PartDistillationError
from partdistillation.models.devices import choose_device
from partdistillation.recipes import DEMO, seeded
from partdistillation.records import PartRow, ProposalRow
from partdistillation.report import run as run_report
from partdistillation.report.build import build_report
from partdistillation.report.data import Headline, ReportData, Table, TableRow
from partdistillation.report.examples import galleries, pictures
from partdistillation.stages import proposals
from partdistillation.store import read_rows
from partdistillation.workers import TaskFailedError, WorkerDiedError, map_on_processes

KS = (1, 10, 20, 200)
SUMMARY = (
    "Drawings of eight kinds of things, whose parts the method finds without a part label. All that is shown "
    "here are images that nothing was learned from."
)
_STAGE0_SEED, _FIRST_SEED = 1_000, 10_000
"""Seeds of the drawings for stage 0, one a run, and for the rest, ten a run: none is used twice."""
_LABEL_WIDTH = 31  # so that tables printed one after the other line up
MARGIN = 5.0
"""How much better than untrained features the trained features are wanted to be, in percent."""


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


@dataclass
class Story:
    """What is told as it happens: the table's rows and the seconds each thing took."""

    console: Console = field(default_factory=Console)
    measured: list[Measured] = field(default_factory=list)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Say what is going on, and how long it took."""
        self.console.rule(f"[bold]{title}", align="left")
        start = time.monotonic()
        yield
        self.console.print(f"{time.monotonic() - start:.1f} s", style="dim")

    def tell(self, measured: Sequence[Measured]) -> None:
        """Add rows to the table and print them."""
        self.measured += measured
        self.console.print(_printed(measured))


def run(out: Path, *, seed: int, from_scratch: bool, device: Device, workers: int) -> Path:
    """Draw PartShapes into `out/data`, run stages 1 to 5 and every control, and return the report's page.

    Run again to resume. `from_scratch` trains stage 0 too, instead of loading the weights in the package.
    """
    return play(Plan(), out, seed=seed, from_scratch=from_scratch, device=device, workers=workers)


def play(plan: Plan, out: Path, *, seed: int, from_scratch: bool, device: Device, workers: int) -> Path:
    """`run` at any size."""
    story = Story()
    recipe = seeded(plan.recipe, seed)
    data = out / "data"
    inputs = _inputs(out, data, "train", device, workers)
    with story.chapter("PartShapes: the drawings"):
        draw(plan, data, seed)
    if from_scratch:
        with story.chapter("Stage 0: instance segmentation"):
            recipe = replace(recipe, encoder=str(pretrain(plan, recipe, out, seed, device)))
    validation = Validation(
        replace(_inputs(out, data, "val", device, workers), out=out / "validation"), recipe
    )
    _segments(story, inputs, recipe, validation)
    with _baselines(replace(inputs, workers=1), recipe, beside=workers > 1) as baselines:
        _parts(story, inputs, recipe, validation)
        for name, learn in baselines.items():
            title = name.replace("_", "-")
            with story.chapter(f"Baseline: {title}"):
                story.tell([measure_parts(validation, learn(), name, title, "baseline")])
    table = tables(story.measured)
    _save_tables(out, table, story.measured)
    with story.chapter("Report"):
        page = build_report(
            _report(inputs, recipe, validation, story.measured, table), out / run_report.FOLDER
        )
    story.console.print("In percent. mIoU: C over object classes, A over parts; *: by the paper's protocol.")
    for line in claims(story.measured):
        story.console.print(str(line))
    story.console.print(f"Open {page}")
    return page


# ---------------------------------------------------------------------- data


def draw(plan: Plan, data: Path, seed: int) -> None:
    """Write the splits, each of a seed of its own, where they aren't yet."""
    for place, (split, count) in enumerate({"train": plan.train, "val": plan.val}.items()):
        _write(data, split, count, plan.size, _FIRST_SEED + 10 * seed + place)


def _write(data: Path, split: str, count: int, size: int, seed: int) -> None:
    """Write a split; `SPLIT.json`, written last, says which one is there."""
    made = json.dumps({"seed": seed, "count": count, "size": size}).encode()
    stamp = data / f"{split}.json"
    if not stamp.exists() or stamp.read_bytes() != made:
        write_coco(data, split, seed=seed, count=count, size=size)
        replace_file(stamp, made)


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
    """Stages 1 and 2, measured on the validation images."""
    with story.chapter("Stage 1: objects"):
        pipeline.objects(replace(inputs, workers=1), recipe)
        validation.prepare()
    with story.chapter("Stage 2: segments"):  # of other processes only these are worth the start
        pipeline.segments(inputs, recipe)
    with story.chapter("Stage 2 on the validation images, with its controls"):
        story.tell([measure_whole_objects(validation), *measure_segments(validation)])


def _parts(story: Story, inputs: Inputs, recipe: Recipe, validation: Validation) -> None:
    """Stages 3 to 5, each measured on the validation images as soon as it is there."""
    with story.chapter("Stage 3: proposals"):
        pipeline.proposals(inputs, recipe)
        story.tell(measure_proposals(validation, inputs.out / proposals.FOLDER))
    with story.chapter("Stage 4: ranking"):
        pipeline.rank(replace(inputs, workers=1), recipe)
    with story.chapter("Stage 5: the part model"):
        model = pipeline.distill(inputs, recipe)
        story.tell([measure_parts(validation, model, "parts", "part model", "result")])


_BASELINES: Mapping[str, Callable[[Inputs, Recipe], Path]] = {
    one_stage.NAME: one_stage.run,
    supervised.NAME: supervised.run,
}
"""The same network and steps as the part model, with other labels."""


@contextmanager
def _baselines(inputs: Inputs, recipe: Recipe, *, beside: bool) -> Iterator[dict[str, Callable[[], Path]]]:
    """The baselines, each to be called for its model's folder.

    With `beside`, on a CPU, they are trained meanwhile, in a process and on a thread of their own: small
    networks use two cores better side by side than one after the other. Their progress is in
    `baselines/progress.log`.
    """
    if not beside or choose_device(inputs.device).type != "cpu":
        yield {name: partial(learn, inputs, recipe) for name, learn in _BASELINES.items()}
        return
    models: dict[str, Future[Path]] = {name: Future() for name in _BASELINES}
    Thread(target=_learn_beside, args=(inputs, recipe, models), daemon=True).start()
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        yield {name: model.result for name, model in models.items()}
    finally:
        torch.set_num_threads(threads)


def _learn_beside(inputs: Inputs, recipe: Recipe, models: Mapping[str, Future[Path]]) -> None:
    """Train all baselines in one other process; it ends when this one does."""
    make = partial(_learner, inputs, recipe)
    try:
        for key, folder in map_on_processes(make, enumerate(models), workers=1):
            list(models.values())[key].set_result(folder)
    except (TaskFailedError, WorkerDiedError) as error:
        cause = error.__cause__ or PartDistillationError(
            "the baselines' process died; mostly that is the system running out of memory: run the same "
            "command again, with --workers 1"
        )
        for model in models.values():
            if not model.done():
                model.set_exception(cause)


def _learner(inputs: Inputs, recipe: Recipe) -> Callable[[str], Path]:
    """What a process of its own does: train the baseline of a name, and leave the terminal alone."""
    log = inputs.out / "baselines" / "progress.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr = log.open("a", encoding="utf-8")
    return lambda name: _BASELINES[name](inputs, recipe)


# ---------------------------------------------------------------------- tables


def tables(measured: Sequence[Measured]) -> tuple[Table, ...]:
    """What the demo found, in percent."""
    recall = Table(
        "Finding parts: average recall",
        tuple(f"AR@{k}" for k in KS),
        tuple(TableRow(one.name, tuple(_percents(one)[: len(KS)]), one.kind) for one in measured),
        note="Of all parts of the validation images by the k best masks an image, given the objects' masks, "
        "over IoU 0.5:0.05:0.95 (protocol strict), in percent.",
        better="high",
    )
    named = [one for one in measured if one.strict.c_miou == one.strict.c_miou]
    columns = ("C-mIoU", "A-mIoU", "C-mIoU, paper", "A-mIoU, paper")
    naming = Table(
        "Naming parts: mIoU after a majority vote",
        columns,
        tuple(TableRow(one.name, tuple(_percents(one)[len(KS) :]), one.kind) for one in named),
        note="Part classes of unseen objects against true parts, in percent. C: mean over object classes, A: "
        "over parts. The paper's protocol drops predictions that miss all true parts, which flatters.",
        better="high",
    )
    return recall, naming


@dataclass(frozen=True)
class Claim:
    """Something wanted of the method, in percent of `of` by more than `margin`."""

    text: str
    ours: float
    other: float
    margin: float
    of: str

    @property
    def holds(self) -> bool:
        return self.ours > self.other + self.margin

    def __str__(self) -> str:
        holds = "holds" if self.holds else "does not hold"
        return f"{self.text}: {holds} ({self.ours:.1f} against {self.other:.1f} of {self.of})"


def claims(measured: Sequence[Measured]) -> list[Claim]:
    """What is wanted of the method; whether it holds is said in the table."""
    recall = {one.name: 100 * one.strict.average_recall[10] for one in measured}
    named = {one.name: 100 * one.strict.c_miou for one in measured}
    segments = next(one.name for one in measured if one.name.startswith("segments: "))
    controls = [one.name for one in measured if one.name.startswith("segments: ") and one.kind == "control"]
    best = max(controls, key=recall.__getitem__)
    many = {one.name: 100 * one.strict.average_recall[200] for one in measured}
    return [
        Claim(f"trained features beat untrained ones by {MARGIN:g} (AR@10)",
              recall[segments], recall[best], MARGIN, best),
        Claim("proposals beat segments (AR@200, as the paper measures proposals)",
              many["proposals: overlapping"], many[segments], 0.0, segments),
        Claim("the part model beats one-stage clustering (C-mIoU)",
              named["part model"], named["one-stage"], 0.0, "one-stage"),
    ]  # fmt: skip


def _wanted(found: Sequence[Claim]) -> Table:
    rows = tuple(TableRow(one.text, (one.ours, one.other, "yes" if one.holds else "no")) for one in found)
    return Table("What was wanted", ("ours", "the other", "holds"), rows, note="In percent.")


def _percents(one: Measured) -> list[float]:
    scores = [one.strict.average_recall[k] for k in KS]
    scores += [one.strict.c_miou, one.strict.a_miou, one.paper.c_miou, one.paper.a_miou]
    return [100 * value for value in scores]


def _printed(measured: Sequence[Measured]) -> Printed:
    printed = Printed(box=None, padding=(0, 0, 0, 1))
    printed.add_column(min_width=_LABEL_WIDTH, no_wrap=True)
    for title in ("AR@1", *(f"@{k}" for k in KS[1:]), "C-mIoU", "A", "C*", "A*"):
        printed.add_column(title, justify="right", no_wrap=True)
    for one in measured:
        printed.add_row(one.name, *("-" if value != value else f"{value:.1f}" for value in _percents(one)))
    return printed


def _save_tables(out: Path, found: Sequence[Table], measured: Sequence[Measured]) -> None:
    """Write `table.md`, and `table.json` with every part's score."""
    text = "\n".join([*map(_markdown, found), *(f"- {line}" for line in claims(measured)), ""])
    replace_file(out / "table.md", text.encode())
    values = [
        {"name": one.name, "kind": one.kind, "strict": one.strict.to_dict(), "paper": one.paper.to_dict()}
        for one in measured
    ]
    replace_file(out / "table.json", (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", "", table.note, ""]
    lines.append(f"| | {' | '.join(table.columns)} |")
    lines.append("|---" * (len(table.columns) + 1) + "|")
    for row in table.rows:
        kind = "" if row.kind == "result" else f" ({row.kind})"
        cells = (value if isinstance(value, str) else _cell(value) for value in row.values)
        lines.append(f"| {row.label}{kind} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) and value == value else "-"


# ---------------------------------------------------------------------- report


def _report(
    inputs: Inputs,
    recipe: Recipe,
    validation: Validation,
    measured: Sequence[Measured],
    found: Sequence[Table],
) -> ReportData:
    """The run's report, with what was measured, and pictures of validation images."""
    own = run_report.contents(inputs, recipe, seconds=pipeline.seconds(inputs.out))
    values = {one.name: one for one in measured}
    part_model, best = values["part model"], values["supervised"]
    images_dir, folder = validation.inputs.need("images"), validation.inputs.out
    return replace(
        own,
        title="Parts discovered in PartShapes",
        summary=SUMMARY,
        headlines=(
            Headline("Part model", f"{100 * part_model.strict.c_miou:.1f}", "C-mIoU, no part labels"),
            Headline("Supervised", f"{100 * best.strict.c_miou:.1f}", "C-mIoU, with all part labels"),
        ),
        tables=(*found, _wanted(claims(measured)), *own.tables),
        pictures=pictures(
            validation.objects_dir,
            images_dir,
            {
                "segments": run_report.segment_layer(segment_rows(validation)),
                "proposals": run_report.proposal_layer(read_rows(folder / "proposals", ProposalRow)),
                "parts": run_report.part_layer(read_rows(folder / "parts", PartRow)),
            },
        ),
        galleries=galleries(validation.objects_dir, folder / "parts", images_dir, _part_notes(part_model)),
    )


def _part_notes(measured: Measured) -> Mapping[tuple[str, int], str]:
    """The true part that the majority vote maps each part class to."""
    return {
        (category.category, part_id): f"mostly {part.part}"
        for category in measured.strict.categories
        for part in category.parts
        for part_id in part.part_ids
    }
