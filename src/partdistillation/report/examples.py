"""A few images of a run through all its stages."""

from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from partdistillation.data.images import load_image_of
from partdistillation.pictures.overlays import overlay
from partdistillation.pictures.sizes import enlarge, enlarge_labels, shrink
from partdistillation.report.data import Key, Panel, Picture, PictureRow
from partdistillation.report.galleries import legend
from partdistillation.report.label_maps import LabelMap, numbered_map
from partdistillation.runs.records import ObjectRow, PartRow, R
from partdistillation.runs.stage_reader import read_rows

PANEL_SIDE = 400

Layer = tuple[Iterable[R], Callable[[R], LabelMap]]
"""A stage to be seen: its rows, read once, and what they show in an image."""


def pictures(
    objects_dir: Path, images_dir: Path, layers: Mapping[str, Layer[Any]], count: int = 8
) -> tuple[PictureRow, ...]:
    """Images evenly spread over a data set: the image, its objects, and each layer (by its caption).

    Where a layer shows parts, there is a legend of them.
    """
    chosen = _spread(objects_dir, count)
    rows = {caption: _of(chosen, stage) for caption, (stage, _) in layers.items()}
    picture_rows = []
    for image_id, row in chosen.items():
        maps = {"objects": numbered_map(row, row.objects)}
        keys: tuple[Key, ...] = ()
        for caption, (_, label_map) in layers.items():
            labelled = rows[caption][image_id]
            maps[caption] = label_map(labelled)
            keys = legend(labelled) if isinstance(labelled, PartRow) else keys
        title = ", ".join(sorted({instance.category for instance in row.objects}))
        image = load_image_of(images_dir / row.file_name, row.height, row.width)
        picture_rows.append(picture_row(title, image, maps, keys))
    return tuple(picture_rows)


def _spread(objects_dir: Path, count: int) -> dict[str, ObjectRow]:
    usable = [row.image_id for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    places = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    return _of({usable[place] for place in places}, read_rows(objects_dir, ObjectRow))


def _of(ids: Container[str], rows: Iterable[R]) -> dict[str, R]:
    return {row.image_id: row for row in rows if row.image_id in ids}


def picture_row(
    title: str,
    image: UInt8[np.ndarray, "height width 3"],
    layers: Mapping[str, Int[np.ndarray, "height width"]],
    keys: tuple[Key, ...] = (),
) -> PictureRow:
    """The image, then each layer (caption: label map, 0 = background) in colours over it."""
    enlarged = enlarge(image, PANEL_SIDE)
    panels = [Panel("image", Picture.of(shrink(enlarged, 2 * PANEL_SIDE)))]
    for caption, labels in layers.items():
        colored = overlay(enlarged, enlarge_labels(labels, PANEL_SIDE), contours=2)
        panels.append(Panel(caption, Picture.of(shrink(colored, 2 * PANEL_SIDE))))
    return PictureRow(title, tuple(panels), keys)
