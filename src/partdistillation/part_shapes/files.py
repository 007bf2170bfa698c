"""PartShapes as files: PNG images and COCO JSON, for the ordinary readers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from partdistillation.data.coco import CocoImage
from partdistillation.errors import PartDistillationError
from partdistillation.export import coco
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import encoded
from partdistillation.part_shapes.scene import PartShapes, SceneObject
from partdistillation.runs.atomic import explained, make_folder
from partdistillation.runs.workers import TaskFailedError, WorkerDiedError, map_here, map_on_processes

_AT_ONCE = 32
"""Scenes that a process draws at a time."""
Drawn = tuple[ImageLabels, ImageLabels]
"""A scene's labels, and the same with finer object classes."""


def write_coco(root: Path, split: str, *, seed: int, count: int, size: int = 96, workers: int = 1) -> None:
    """Write scenes 0..count-1 of a seed: images, and three COCO files in `root`.

    Images are `root/split/000123.png`, named in the JSON relative to `root/split`. `objects_{split}.json` has
    the objects with their classes, `varieties_{split}.json` the same with finer ones ("car 3"), for the
    encoder's warm-up; `parts_{split}.json` has the parts, whose `object_id` is their object's annotation id.
    However many `workers` draw, the files are the same.
    """
    drawn = _drawn(make_folder(root / split), seed, count, size, workers)
    images = [image for image, _ in drawn]
    coco.write_objects(root / f"objects_{split}.json", images)
    coco.write_objects(root / f"varieties_{split}.json", [finer for _, finer in drawn])
    coco.write_parts(root / f"parts_{split}.json", images)


def _drawn(folder: Path, seed: int, count: int, size: int, workers: int) -> list[Drawn]:
    tasks = [(start, range(start, min(start + _AT_ONCE, count))) for start in range(0, count, _AT_ONCE)]
    make, workers = partial(_make_artist, folder, seed, size), min(workers, len(tasks))
    results = map_here(make, tasks) if workers <= 1 else map_on_processes(make, tasks, workers)
    try:
        drawn = dict(results)
    except TaskFailedError as failure:
        raise failure.__cause__ or failure from None
    except WorkerDiedError as death:
        raise PartDistillationError(
            f"{folder}: a process that drew scenes died (exit code {death.exit_code}): "
            "run the same command again, with fewer workers if the memory is short"
        ) from None
    return [labels for start in sorted(drawn) for labels in drawn[start]]


def _make_artist(folder: Path, seed: int, size: int) -> Callable[[Sequence[int]], list[Drawn]]:
    scenes = PartShapes(seed, size)
    return lambda places: [_draw(scenes, place, folder) for place in places]


def _draw(scenes: PartShapes, place: int, folder: Path) -> Drawn:
    """Write a scene's image; return its labels."""
    scene = scenes[place]
    image = CocoImage(place + 1, f"{place:06d}.png", scenes.size, scenes.size)
    with explained(folder):
        Image.fromarray(scene.image).save(folder / image.file_name)
    labels = tuple(map(_label, scene.objects))
    return ImageLabels(image, labels), ImageLabels(image, tuple(map(_variety, labels, scene.objects)))


def _label(drawn: SceneObject) -> ObjectLabel:
    parts = tuple(PartLabel(part.name, encoded(part.mask)) for part in drawn.parts)
    return ObjectLabel(drawn.category, encoded(drawn.mask), parts)


def _variety(label: ObjectLabel, drawn: SceneObject) -> ObjectLabel:
    return replace(label, category=f"{drawn.category} {drawn.variety}")
