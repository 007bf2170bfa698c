"""Pictures of what a run has found so far, drawn from its last committed shards."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import HTTPException
from jaxtyping import UInt8

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import StoreError
from partdistillation.pictures.overlays import overlay
from partdistillation.pictures.sizes import resize_labels, resized
from partdistillation.pictures.text import note_picture
from partdistillation.report.label_maps import LabelMap, numbered_map, part_map, proposal_map, segment_map
from partdistillation.review.collages.drawing import read_image
from partdistillation.runs.manifest import Entry
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.run_folder import FEATURES, OBJECTS, PARTS, SEGMENTS
from partdistillation.runs.stage_reader import read_shard
from partdistillation.studio.progress import manifest_of, settings_of

MOST = 8
"""Pictures of a layer."""
SIDE = 640
"""Of a picture's longer side, in pixels."""
_NOTE = 320
"""Side of what stands for a photograph that can't be shown."""
_SHARDS = 12
"""So many are looked through for pictures, where they are small."""


class Layer(NamedTuple):
    """What of a photograph can be seen."""

    folder: str
    label: str
    row: type[Any]
    draw: Callable[[Any], LabelMap]


def _objects(row: ObjectRow) -> LabelMap:
    return numbered_map(row, row.objects)


LAYERS = {
    "parts": Layer(PARTS[0], "Parts", PartRow, part_map),
    "proposals": Layer(FEATURES, "Proposals", ProposalRow, proposal_map),
    "segments": Layer(SEGMENTS, "Segments", SegmentRow, segment_map),
    "objects": Layer(OBJECTS, "Objects", ObjectRow, _objects),
}
"""The latest first."""


class Picture(NamedTuple):
    """Where a picture comes from: a shard by its place, the row in it, and the shard's hash."""

    layer: str
    shard: int
    row: int
    sha256: str
    file_name: str


def newest(out: Path, layer: str, most: int = MOST) -> list[Picture]:
    """The pictures of a layer that came last."""
    return list(_first(_pictures(out, layer, newest_first=True), most))


def cover(out: Path) -> Picture | None:
    """The picture that stands for a run: of the most that it has found."""
    for layer in layers_of(out):
        for picture in _pictures(out, layer, newest_first=False):
            return picture
    return None


def layers_of(out: Path) -> list[str]:
    """The layers that a run may have. Where segments are the candidates for parts, no proposals are seen."""
    _, recipe = settings_of(out)
    return [name for name in LAYERS if name != "proposals" or recipe.ranking.candidates != "segments"]


def draw(out: Path, layer: str, shard: int, row: int) -> UInt8[np.ndarray, "height width 3"]:
    """A row of a layer, in colours over its photograph; where that can't be shown, why.

    Raises:
        HTTPException: there is no such row.
        StoreError: its shard is damaged.
    """
    if layer not in LAYERS:
        raise HTTPException(404, "no such picture")
    manifest = manifest_of(out / LAYERS[layer].folder)
    if manifest is None or not 0 <= shard < len(manifest.shards) or not manifest.shards[shard].sha256:
        raise HTTPException(404, "no such picture")
    rows = _rows(out, layer, manifest.shards[shard])
    if not 0 <= row < len(rows):
        raise HTTPException(404, "no such picture")
    return _drawn(rows[row], LAYERS[layer], settings_of(out))


def _drawn(row: Row, layer: Layer, settings: tuple[Inputs, Recipe]) -> UInt8[np.ndarray, "height width 3"]:
    images = settings[0].images
    image = "image is gone" if images is None else read_image(images / row.file_name, row.width, row.height)
    if isinstance(image, str):
        return note_picture(image, _NOTE, _NOTE)
    scale = min(1.5, SIDE / max(row.height, row.width))  # drawings are small
    height, width = max(1, round(scale * row.height)), max(1, round(scale * row.width))
    labels = resize_labels(layer.draw(row), height, width)
    return overlay(resized(image, height, width), labels, alpha=0.55, contours=2)


def _pictures(out: Path, layer: str, *, newest_first: bool) -> Iterator[Picture]:
    manifest = manifest_of(out / LAYERS[layer].folder)
    if manifest is None:
        return
    committed = [place for place, shard in enumerate(manifest.shards) if shard.sha256]
    chosen = committed[::-1] if newest_first else committed[len(committed) // 2 :]
    for place in chosen[:_SHARDS]:
        shard = manifest.shards[place]
        try:
            rows = list(enumerate(_rows(out, layer, shard)))
        except StoreError:
            continue
        for number, row in rows[::-1] if newest_first else rows:
            if row.objects:
                yield Picture(layer, place, number, shard.sha256, row.file_name)


def _first(pictures: Iterator[Picture], most: int) -> Iterator[Picture]:
    for _, picture in zip(range(most), pictures, strict=False):
        yield picture


def _rows(out: Path, layer: str, shard: Entry) -> list[Any]:
    return _read(out / LAYERS[layer].folder, layer, shard)


@lru_cache(maxsize=8)
def _read(folder: Path, layer: str, shard: Entry) -> list[Any]:
    return read_shard(folder, shard, LAYERS[layer].row)
