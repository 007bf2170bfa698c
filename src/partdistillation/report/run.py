"""The report of a run: what its folder holds."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from partdistillation import baselines, config
from partdistillation.baselines import one_stage, supervised
from partdistillation.config import Inputs, Recipe, TrainingConfig
from partdistillation.errors import CheckpointError, InputError, StoreError
from partdistillation.evaluation.consistency import part_counts
from partdistillation.pictures.curves import Chart, Curve
from partdistillation.report import next_steps, ways
from partdistillation.report.build import build_report
from partdistillation.report.data import PictureRow, ReportData, StageSummary, Table, TableRow
from partdistillation.report.examples import Layer, pictures
from partdistillation.report.galleries import Finding, galleries, hero, note
from partdistillation.report.label_maps import LabelMap, part_map, proposal_map, segment_map
from partdistillation.runs import seen
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, SegmentRow
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import candidates, distillation, objects, pretrain, proposals, ranking, segments
from partdistillation.stages.pixel_features import encoders_of
from partdistillation.training.checkpoints import METRICS

FOLDER = "report"
MAX_REJECTED = 20
LOSSES = ("classification", "mask", "dice")
_TRAININGS = {
    "pretrain": "stage 0: instance segmentation",
    "proposals": "stage 3: proposals",
    "distillation": "stage 5: parts",
}
_BASELINES = {one_stage.NAME: "baseline: one-stage", supervised.NAME: "baseline: supervised"}


def write(inputs: Inputs, recipe: Recipe, *, seconds: Mapping[str, float]) -> Path:
    """Write `out/report/index.html` and return it.

    Raises:
        StoreError: no stage has begun.
    """
    return build_report(contents(inputs, recipe, seconds=seconds), inputs.out / FOLDER)


def contents(inputs: Inputs, recipe: Recipe, *, seconds: Mapping[str, float]) -> ReportData:
    """What there is to show of a run: finished, stopped or going on."""
    text, images_dir = in_words(inputs, recipe, seconds=seconds), inputs.need("images")
    objects_dir, parts_dir = inputs.out / objects.FOLDER, inputs.out / ranking.PARTS
    if not is_finished(objects_dir):
        return text
    rows = _pictures(inputs.out, images_dir, recipe)
    if not is_finished(parts_dir):
        return text._replace(pictures=rows, hero=_first(rows))
    return with_galleries(text._replace(pictures=rows), Finding.of(objects_dir, parts_dir), images_dir)


def in_words(inputs: Inputs, recipe: Recipe, *, seconds: Mapping[str, float]) -> ReportData:
    """The same without pictures."""
    out, stages = inputs.out, _stages(inputs.out, recipe, seconds)
    if not stages:
        raise StoreError(f"expected a run in {out}, found none that has begun: run stage 1 first")
    images_dir = inputs.need("images")
    has_objects = is_finished(out / objects.FOLDER)
    seen.warn_of_changes(out / objects.FOLDER, seen.places(images_dir, inputs.place("objects")))
    compared, own = ways.compared(out), ways.evaluated(out)
    headlines = ways.headlines(compared, own)
    return ReportData(
        title=f"Looking for parts in {images_dir.name}",
        summary="There are none yet; this is how far the run has come.",
        headlines=headlines,
        headlines_note=ways.NOTE if headlines else "",
        facts=(*facts(recipe), *(_warnings(out, recipe) if has_objects else ())),
        stages=stages,
        tables=tuple(ways.tables(compared, own)),
        left_out=tuple(_rejected(out / objects.FOLDER)) if has_objects else (),
        charts=loss_charts(out),
        steps=next_steps.steps(is_finished(out / ranking.PARTS), is_finished(out / distillation.FOLDER)),
        config=config.to_yaml(recipe, inputs),
    )


def with_galleries(
    report: ReportData,
    finding: Finding,
    images_dir: Path,
    notes: Mapping[tuple[str, int], str] | None = None,
) -> ReportData:
    """A report with what was found: its headline, its first picture and its galleries."""
    return report._replace(
        title=f"Parts discovered in {images_dir.name}",
        summary="Found without a part label: by grouping features, and by learning from the groups.",
        finding=finding.headline(),
        hero=hero(finding, images_dir) or _first(report.pictures),
        galleries=galleries(finding, images_dir, notes),
        galleries_note=note(finding),
    )


def _first(rows: Sequence[PictureRow]) -> PictureRow | None:
    """The first image and what the last stage makes of it, while there are no parts."""
    for title, panels, keys in rows[:1]:
        return PictureRow(title, (panels[0], panels[-1]), keys)
    return None


def is_finished(folder: Path) -> bool:
    """Whether a stage, or a model, is there and whole."""
    try:
        return bool(contents_hash(folder))
    except (CheckpointError, StoreError):
        return False


def facts(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """What ran."""
    software = ", ".join(f"{name} {version(name)}" for name in ("partdistillation", "torch", "transformers"))
    return (
        ("Encoder", " + ".join(encoders_of(recipe))),
        ("Segments", f"k = {_numbers(recipe)}, {recipe.segments.features} features of levels "
                     f"{' + '.join(map(str, recipe.segments.levels))}, metric {recipe.segments.metric}"),
        ("Part classes", _part_classes(recipe)),
        ("Software", software),
    )  # fmt: skip


def _warnings(out: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if remark := objects.encoder_remark(out / objects.FOLDER, encoders_of(recipe)):
        yield "Warning", remark


def _steps(config: TrainingConfig) -> str:
    limit = f", at most {config.max_epochs} epochs" if config.max_epochs else ""
    return f"{config.steps:,} steps{limit}"


def _numbers(recipe: Recipe) -> str:
    """Of segments an object."""
    return " and ".join(str(way.segments.k) for way in segments.ways(recipe).values())


def _part_classes(recipe: Recipe) -> str:
    match recipe.ranking.part_count:
        case "fixed":
            return f"K = {recipe.ranking.num_parts} an object class"
        case "stability":
            return f"as many as are stable, at most {recipe.ranking.num_parts} an object class"


def _stages(out: Path, recipe: Recipe, seconds: Mapping[str, float]) -> tuple[StageSummary, ...]:
    """Those that have begun; what runs, or was stopped, as going on."""
    stages: tuple[tuple[Stage, Callable[[], str]], ...] = (
        (pretrain.STAGE, lambda: _pretrained(recipe)),
        (objects.STAGE, lambda: _objects(out / objects.FOLDER)),
        (segments.STAGE, lambda: _segments(out / segments.FOLDER)),
        (proposals.STAGE, lambda: f"proposal model, {_steps(recipe.proposals)}"),
        (ranking.STAGE, lambda: _ranked(out / ranking.PARTS)),
        (distillation.STAGE, lambda: f"part model, {_steps(recipe.distillation)}"),
    )
    return tuple(
        StageSummary(stage.name, made(), seconds.get(stage.name, 0.0))
        if is_finished(out / stage.folders[-1])
        else StageSummary(stage.name, _going_on(stage, out), 0.0)
        for stage, made in stages
        if stage.has_begun(out)
    )


def _going_on(stage: Stage, out: Path) -> str:
    """How far a stage is that isn't finished."""
    if counts := stage.photographs(out):
        return f"going on: {counts[0]:,} of {counts[1]:,} photographs"
    curves = read_curves(out / METRICS, stage.name) if (out / METRICS).is_file() else ()
    steps = [step for curve in curves for step, _ in curve.points]
    return f"going on: step {max(steps) + 1:,.0f}" if steps else "going on"


def _pretrained(recipe: Recipe) -> str:
    settings = recipe.pretrain
    length = f"{settings.steps:,} steps" if settings.steps else f"{settings.epochs} epochs"
    return f"instance segmentation model, {length}"


def _objects(objects_dir: Path) -> str:
    rows = list(read_rows(objects_dir, ObjectRow))
    usable = sum(row.status == "ok" for row in rows)
    return f"{sum(len(row.objects) for row in rows):,} in {usable:,} of {len(rows):,} images"


def _segments(segments_dir: Path) -> str:
    rows = read_rows(segments_dir, SegmentRow)
    return f"{sum(len(instance.segments) for row in rows for instance in row.objects):,} segments"


def _ranked(parts_dir: Path) -> str:
    counts = part_counts(parts_dir)
    categories = len({category for category, _ in counts})
    return f"{counts.total():,} parts of {len(counts):,} part classes, {categories:,} object classes"


def _rejected(objects_dir: Path) -> Iterator[Table]:
    rejected = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "rejected"]
    if rejected:
        listed = rejected[:MAX_REJECTED]
        rows = tuple(TableRow(row.file_name or row.image_id, (row.reason,)) for row in listed)
        more = f", the first {MAX_REJECTED} of them" if len(rejected) > MAX_REJECTED else ""
        yield Table(f"Images left out: {len(rejected)}{more}", ("why",), rows, label="image")


def _pictures(out: Path, images_dir: Path, recipe: Recipe) -> tuple[PictureRow, ...]:
    stages: dict[str, tuple[str, type[Any], Callable[[Any], LabelMap]]] = {
        "segments": (segments.FOLDER, SegmentRow, segment_map),
        "proposals": (candidates.FEATURES, ProposalRow, proposal_map),
        "parts": (ranking.PARTS, PartRow, part_map),
    }
    if recipe.ranking.candidates == "segments":  # they stand there already
        del stages["proposals"]
    layers: dict[str, Layer[Any]] = {
        caption: (read_rows(out / folder, row), label_map)
        for caption, (folder, row, label_map) in stages.items()
        if is_finished(out / folder)
    }
    return pictures(out / objects.FOLDER, images_dir, layers)


# ---------------------------------------------------------------------- losses


def loss_charts(out: Path) -> tuple[Chart, ...]:
    """The losses of every training of a run: its stages, and the baselines in folders of their own."""
    logs = [(out / METRICS, stage, title) for stage, title in _TRAININGS.items()]
    logs += [(out / baselines.FOLDER / name / METRICS, name, title) for name, title in _BASELINES.items()]
    trainings = (Chart(title, read_curves(path, stage)) for path, stage, title in logs if path.exists())
    return tuple(chart for chart in trainings if chart.curves)


def read_curves(path: Path, stage: str) -> tuple[Curve, ...]:
    """The losses of a stage's training from a `metrics.jsonl`: one JSON object a line, numbers by name.

    Lines without a step or a loss add no point to that curve; a loss in no line gives no curve; a last line
    torn by a kill is skipped.

    Raises:
        InputError: a line before the last isn't a JSON object.
    """
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in LOSSES}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            step = record.get("step")
        except (ValueError, AttributeError) as error:
            if number == len(lines):
                break
            raise InputError(f"Expected a JSON object in {path}, line {number}; found {line:.80}.") from error
        for name in LOSSES if record.get("stage") == stage else ():
            value = record.get(name)
            if _is_number(step) and _is_number(value):
                points[name].append((float(step), float(value)))
    return tuple(Curve(name, tuple(measured)) for name, measured in points.items() if measured)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
