"""A photograph as the stages see it: its objects, segments, proposals and parts, as outlines with names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from partdistillation.functional.masks import decode
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.records import Object, PartRow, ProposalRow, R, Row, SegmentRow
from partdistillation.runs.run_folder import FEATURES, SEGMENTS, find_stage
from partdistillation.studio.examples import ShardRows
from partdistillation.studio.gallery import Gallery
from partdistillation.studio.outlines import path_of

_FINEST = 1024
"""Longer side of what is outlined exactly, in pixels; of larger ones every second pixel, and so on."""


class Region(NamedTuple):
    """An outline that answers the pointer."""

    path: str
    """In SVG's letters, in the photograph's pixels."""
    category: str
    """Of its object."""
    color: int
    score: float | None = None
    share: float | None = None
    """Of its object's area."""
    part: int | None = None
    """Its part class, as people have it."""
    name: str | None = None
    """Of the part class, where people gave it one."""


class Layers:
    """The stages of a run."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._segments = _stage(gallery.out / SEGMENTS, SegmentRow)
        self._proposals = _stage(gallery.out / FEATURES, ProposalRow)

    def of(self, image: int, table: PartTable) -> dict[str, Any]:
        """A photograph's name and size, and what each stage that the run keeps has found in it."""
        row = self._gallery.row(image)
        return {
            "of": self._gallery.examples.version,
            "image": image,
            "images": len(self._gallery.examples.image_ids),
            "file": row.file_name,
            "width": row.width,
            "height": row.height,
            "reason": row.reason,
            "layers": {
                name: [region._asdict() for region in regions]
                for name, regions in self._layers(image, row, table)
            },
        }

    def _layers(self, image: int, row: PartRow, table: PartTable) -> Iterator[tuple[str, list[Region]]]:
        place = self._gallery.examples.shard_of(image)
        objects = self._gallery.objects(image)
        categories = {instance.object_id: instance.category for instance in row.objects}
        areas = {whole.object_id: whole.area for whole in objects}
        if objects:
            yield "objects", _objects(objects, row)
        if self._segments is not None:
            yield "segments", _segments(self._segments.row(*place), categories, areas)
        if self._proposals is not None:
            yield "proposals", _proposals(self._proposals.row(*place))
        yield "parts", _parts(table.applied(row), table, areas)


def _stage(folder: Path, row: type[R]) -> ShardRows[R] | None:
    stage = find_stage(folder, ())
    return None if stage is None else ShardRows(stage, row)


def _objects(objects: Sequence[Object], row: Row) -> list[Region]:
    return [
        Region(_path(whole.rle, row), whole.category, number, score=whole.score)
        for number, whole in enumerate(objects)
    ]


def _segments(row: SegmentRow, categories: Mapping[int, str], areas: Mapping[int, int]) -> list[Region]:
    return [
        Region(
            _path(segment.rle, row),
            categories.get(instance.object_id, ""),
            number,
            share=_share(segment.area, areas.get(instance.object_id)),
        )
        for instance in row.objects
        for number, segment in enumerate(instance.segments)
    ]


def _proposals(row: ProposalRow) -> list[Region]:
    return [
        Region(
            _path(proposal.rle, row), instance.category, number, score=proposal.score, share=proposal.ratio
        )
        for instance in row.objects
        for number, proposal in enumerate(instance.proposals)
    ]


def _parts(row: PartRow, table: PartTable, areas: Mapping[int, int]) -> list[Region]:
    return [
        Region(
            _path(part.rle, row),
            instance.category,
            part.part,
            score=part.score,
            share=_share(part.area, areas.get(instance.object_id)),
            part=part.part,
            name=table.of(instance.category).names.get(part.part),
        )
        for instance in row.objects
        for part in instance.parts
    ]


def _share(area: int, whole: int | None) -> float | None:
    return area / whole if whole else None


def _path(rle: bytes, row: Row) -> str:
    mask = decode(rle, row.height, row.width)
    return path_of(mask, step=-(-max(mask.shape) // _FINEST))
