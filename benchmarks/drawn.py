"""What benchmarks share: objects of photographs or of generated drawings, and runs that are made up."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from partdistillation.data.coco import read_instances
from partdistillation.data.images import load_image
from partdistillation.functional.masks import decode
from partdistillation.objects.annotations import annotated_objects
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import R
from partdistillation.runs.shards import ImageRef, make_shards

Drawn = tuple[np.ndarray, np.ndarray]
"""An image and the mask of one object in it."""

IMAGES = 100
"""About as many of a data set's are used, or fewer."""


def drawn_objects(images: Path | None, objects: Path | None, *, size: int, an_image: int) -> Iterator[Drawn]:
    """At most `an_image` objects of each image: a folder with COCO masks, or PartShapes of `size` pixels."""
    if images is None or objects is None:
        drawings = PartShapes(seed=1, size=size)
        for index in range(10**6):
            scene = drawings[index]
            yield from ((scene.image, instance.mask) for instance in scene.objects[:an_image])
        return
    dataset = read_instances(objects)
    inputs = dataset.inputs(images)
    for image in inputs[:: max(1, len(inputs) // IMAGES)]:  # from all over the file, which is often sorted
        row = annotated_objects(dataset, image, max_objects=an_image, min_area=0.01)
        for instance in row.objects:
            yield load_image(image.path), decode(instance.rle, row.height, row.width)


def write_rows(folder: Path, rows: Sequence[R]) -> None:
    """Write a finished stage of these rows, one an image."""
    by_id = {row.image_id: row for row in rows}
    run_shards(
        folder,
        row=type(rows[0]),
        shards=make_shards([ImageRef(row.image_id) for row in rows]),
        settings={},
        make_work=lambda: lambda shard: [by_id[image.image_id] for image in shard.inputs],
        label=folder.name,
    )
