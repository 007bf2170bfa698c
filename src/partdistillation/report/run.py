"""The report of a run: what its folder holds."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import CheckpointError, StoreError
from partdistillation.report.build import build_report
from partdistillation.report.data import (
    ClassGallery,
    PictureRow,
    ReportData,
    StageSummary,
    Table,
    TableRow,
)
from partdistillation.report.examples import Layer, galleries, pictures
from partdistillation.report.label_maps import LabelMap, numbered_map, part_map
from partdistillation.report.losses import charts
from partdistillation.runs import seen
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, SegmentRow
from partdistillation.runs.store import contents_hash, read_rows
from partdistillation.stages import distillation, objects, pretrain, proposals, ranking, segments

FOLDER = "report"
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
    seen.warn_of_changes(out / objects.FOLDER, seen.places(images_dir, inputs.objects))
    return ReportData(
        title=f"Parts discovered in {images_dir.name}",
        summary="Found without a part label: by grouping features, and by learning from the groups.",
        facts=facts(recipe),
        stages=_stages(out, recipe, seconds),
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
    except (CheckpointError, StoreError):
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


def _stages(out: Path, recipe: Recipe, seconds: Mapping[str, float]) -> tuple[StageSummary, ...]:
    """What each finished stage made."""
    stages: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("pretrain", pretrain.FOLDER, lambda: _pretrained(recipe)),
        ("objects", objects.FOLDER, lambda: _objects(out / objects.FOLDER)),
        ("segments", segments.FOLDER, lambda: _segments(out / segments.FOLDER)),
        ("proposals", proposals.FOLDER, lambda: f"proposal model, {recipe.proposals.steps:,} steps"),
        ("ranking", ranking.PARTS, lambda: _ranked(out / ranking.PARTS)),
        ("distillation", distillation.FOLDER, lambda: f"part model, {recipe.distillation.steps:,} steps"),
    )
    return tuple(
        StageSummary(name, made(), seconds.get(name, 0.0))
        for name, folder, made in stages
        if is_finished(out / folder)
    )


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
    counts = Counter(
        (instance.category, part.part)
        for row in read_rows(parts_dir, PartRow)
        for instance in row.objects
        for part in instance.parts
    )
    categories = len({category for category, _ in counts})
    return f"{counts.total():,} parts of {len(counts):,} part classes, {categories:,} object classes"


def _evaluation(out: Path) -> Iterator[Table]:
    """The table of `partdistill evaluate`, if it has been run on this folder."""
    path = out / "evaluation.json"
    if not path.exists():
        return
    rows = tuple(
        TableRow(f"protocol {scores['protocol']}", tuple(map(_percent, _printed(scores))))
        for scores in json.loads(path.read_bytes())["protocols"]
    )
    columns = ("AR@1", "AR@10", "AR@100", "C-mIoU", "A-mIoU")
    yield Table("Against ground-truth parts", columns, rows, note="In percent.")


def _printed(scores: Mapping[str, Any]) -> tuple[float | None, ...]:
    recall = scores["average_recall"]
    return recall["1"], recall["10"], recall["100"], scores["c_miou"], scores["a_miou"]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _rejected(objects_dir: Path) -> Iterator[Table]:
    """Images that weren't used, with their reasons."""
    rejected = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "rejected"]
    if rejected:
        listed = rejected[:MAX_REJECTED]
        rows = tuple(TableRow(row.file_name or row.image_id, (row.reason,)) for row in listed)
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
    """Segments in colours that mean nothing; smaller ones lie under larger ones."""

    def label_map(row: SegmentRow) -> LabelMap:
        masks = [segment for instance in row.objects for segment in instance.segments]
        return numbered_map(row, [segment.rle for segment in masks], [segment.area for segment in masks])

    return Layer(rows, label_map)


def proposal_layer(rows: Iterable[ProposalRow]) -> Layer[ProposalRow]:
    """Proposals in colours that mean nothing, the best score on top."""

    def label_map(row: ProposalRow) -> LabelMap:
        masks = [proposal for instance in row.objects for proposal in instance.proposals]
        return numbered_map(row, [proposal.rle for proposal in masks], [proposal.score for proposal in masks])

    return Layer(rows, label_map)


def part_layer(rows: Iterable[PartRow]) -> Layer[PartRow]:
    """Parts in their classes' colours."""
    return Layer(rows, part_map)


def _galleries(out: Path, images_dir: Path) -> tuple[ClassGallery, ...]:
    if not is_finished(out / ranking.PARTS):
        return ()
    return galleries(out / objects.FOLDER, out / ranking.PARTS, images_dir)
