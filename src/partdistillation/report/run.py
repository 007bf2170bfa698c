"""The report of a run: what its folder holds."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from partdistillation import baselines, config
from partdistillation.baselines import one_stage, supervised
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import StoreError
from partdistillation.evaluation import run as evaluation
from partdistillation.pictures.curves import read_curves
from partdistillation.report.build import build_report
from partdistillation.report.data import (
    Chart,
    ClassGallery,
    PictureRow,
    ReportData,
    StageSummary,
    Table,
    TableRow,
)
from partdistillation.report.examples import Layer, galleries, pictures
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, SegmentRow
from partdistillation.runs.store import contents_hash, read_rows
from partdistillation.stages import distillation, objects, pretrain, proposals, ranking, segments
from partdistillation.training.checkpoints import METRICS

FOLDER = "report"
CURVES = ("classification", "mask", "dice")
STAGES = {
    "pretrain": "stage 0: instance segmentation",
    "proposals": "stage 3: proposals",
    "distillation": "stage 5: parts",
}
BASELINES = {one_stage.NAME: "baseline: one-stage", supervised.NAME: "baseline: supervised"}
MAX_REJECTED = 20


def write(inputs: Inputs, recipe: Recipe, *, seconds: Mapping[str, float]) -> Path:
    """Write `out/report/index.html` and return it.

    Raises:
        StoreError: not even the first stage is finished.
    """
    return build_report(contents(inputs, recipe, seconds=seconds), inputs.out / FOLDER)


def contents(inputs: Inputs, recipe: Recipe, *, seconds: Mapping[str, float]) -> ReportData:
    """What there is to show of a run, finished or not."""
    out = inputs.out
    if not is_finished(out / objects.FOLDER):
        raise StoreError(f"expected a run in {out}, found no finished {objects.FOLDER}: run that stage first")
    images_dir = inputs.need("images")
    return ReportData(
        title=f"Parts discovered in {images_dir.name}",
        summary="Found without a part label: by grouping features, and by learning from the groups.",
        facts=facts(recipe),
        stages=tuple(_stages(out, recipe, seconds)),
        tables=(*_evaluation(out), *_rejected(out / objects.FOLDER)),
        charts=charts(out),
        pictures=_pictures(out, images_dir),
        galleries=_galleries(out, images_dir),
        config=config.to_yaml(recipe, inputs),
    )


def is_finished(folder: Path) -> bool:
    """Whether a stage, or a model, is there and whole."""
    try:
        return bool(contents_hash(folder))
    except StoreError:
        return False


def facts(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """What ran."""
    software = ", ".join(f"{name} {version(name)}" for name in ("partdistillation", "torch", "transformers"))
    return (
        ("Encoder", recipe.encoder),
        ("Segments", f"k = {recipe.segments.k}, {recipe.segments.features} features of levels "
                     f"{' + '.join(map(str, recipe.segments.levels))}, metric {recipe.segments.metric}"),
        ("Part classes", _part_classes(recipe)),
        ("Software", software),
    )  # fmt: skip


def _part_classes(recipe: Recipe) -> str:
    match recipe.ranking.part_count:
        case "fixed":
            return f"K = {recipe.ranking.num_parts} an object class"
        case "stability":
            return f"as many as are stable, at most {recipe.ranking.num_parts} an object class"


def charts(out: Path) -> tuple[Chart, ...]:
    """The losses of every training of a run: its stages, and the baselines in folders of their own."""
    logs = {out / METRICS: STAGES} | {
        out / baselines.FOLDER / name / METRICS: {name: title} for name, title in BASELINES.items()
    }
    found = (
        (title, read_curves(path, CURVES, stage=stage))
        for path, trainings in logs.items()
        if path.exists()
        for stage, title in trainings.items()
    )
    return tuple(Chart(title, curves) for title, curves in found if curves)


def _stages(out: Path, recipe: Recipe, seconds: Mapping[str, float]) -> Iterator[StageSummary]:
    """What each finished stage made."""
    if is_finished(out / pretrain.FOLDER):
        settings = recipe.pretrain
        length = f"{settings.steps:,} steps" if settings.steps else f"{settings.epochs} epochs"
        made = f"instance segmentation model, {length}"
        yield StageSummary("pretrain", made, seconds.get("pretrain", 0.0))
    rows = list(read_rows(out / objects.FOLDER, ObjectRow))
    usable = sum(row.status == "ok" for row in rows)
    count = sum(len(row.objects) for row in rows)
    made = f"{count:,} in {usable:,} of {len(rows):,} images"
    yield StageSummary("objects", made, seconds.get("objects", 0.0))
    if is_finished(out / segments.FOLDER):
        cut = read_rows(out / segments.FOLDER, SegmentRow)
        made = f"{sum(len(one.segments) for row in cut for one in row.objects):,} segments"
        yield StageSummary("segments", made, seconds.get("segments", 0.0))
    if is_finished(out / proposals.FOLDER):
        made = f"proposal model, {recipe.proposals.steps:,} steps"
        yield StageSummary("proposals", made, seconds.get("proposals", 0.0))
    if is_finished(out / ranking.PARTS):
        yield StageSummary("ranking", _ranked(out / ranking.PARTS), seconds.get("ranking", 0.0))
    if is_finished(out / distillation.FOLDER):
        made = f"part model, {recipe.distillation.steps:,} steps"
        yield StageSummary("distillation", made, seconds.get("distillation", 0.0))


def _ranked(parts_dir: Path) -> str:
    counts = Counter(
        (found.category, part.part)
        for row in read_rows(parts_dir, PartRow)
        for found in row.objects
        for part in found.parts
    )
    categories = len({category for category, _ in counts})
    return f"{counts.total():,} parts of {len(counts):,} part classes, {categories:,} object classes"


def _evaluation(out: Path) -> Iterator[Table]:
    """The table of `partdistill evaluate`, if it has been run on this folder."""
    path = out / "evaluation.json"
    if not path.exists():
        return
    scores = json.loads(path.read_bytes())["protocols"]
    ks = ("1", "10", "100")
    columns = (*(f"AR@{k}" for k in ks), "C-mIoU", "A-mIoU")
    rows = tuple(
        TableRow(
            f"protocol {one['protocol']}",
            tuple(map(percent, (*(one["average_recall"][k] for k in ks), one["c_miou"], one["a_miou"]))),
        )
        for one in scores
    )
    yield Table("Against ground-truth parts", columns, rows, note="In percent.")


def percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _rejected(objects_dir: Path) -> Iterator[Table]:
    """Images that weren't used, with their reasons."""
    rejected = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "rejected"]
    if rejected:
        shown = rejected[:MAX_REJECTED]
        rows = tuple(TableRow(row.file_name or row.image_id, (row.reason,)) for row in shown)
        more = f", the first {MAX_REJECTED} of them" if len(rejected) > MAX_REJECTED else ""
        yield Table(f"Images left out: {len(rejected)}{more}", ("why",), rows, label="image")


def _pictures(out: Path, images_dir: Path) -> tuple[PictureRow, ...]:
    layers: dict[str, Layer[Any]] = {}
    if is_finished(out / segments.FOLDER):
        layers["segments"] = segment_layer(read_rows(out / segments.FOLDER, SegmentRow))
    if is_finished(out / ranking.FEATURES):
        layers["proposals"] = proposal_layer(read_rows(out / ranking.FEATURES, ProposalRow))
    if is_finished(out / ranking.PARTS):
        layers["parts"] = part_layer(read_rows(out / ranking.PARTS, PartRow))
    return pictures(out / objects.FOLDER, images_dir, layers)


def segment_layer(rows: Iterable[SegmentRow]) -> Layer[SegmentRow]:
    return Layer(rows, evaluation.segments)


def proposal_layer(rows: Iterable[ProposalRow]) -> Layer[ProposalRow]:
    return Layer(rows, lambda row, _: evaluation.proposals(row))


def part_layer(rows: Iterable[PartRow]) -> Layer[PartRow]:
    return Layer(rows, lambda row, _: evaluation.labelled_parts(row))


def _galleries(out: Path, images_dir: Path) -> tuple[ClassGallery, ...]:
    if not is_finished(out / ranking.PARTS):
        return ()
    return galleries(out / objects.FOLDER, out / ranking.PARTS, images_dir)
