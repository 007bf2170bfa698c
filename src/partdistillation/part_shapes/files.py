"""PartShapes as files: PNG images and COCO JSON, for the ordinary readers."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from partdistillation.data.coco import CocoImage
from partdistillation.export import coco
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import encoded
from partdistillation.part_shapes.scene import PartShapes, SceneObject
from partdistillation.runs.atomic import explained, make_folder


def write_coco(root: Path, split: str, *, seed: int, count: int, size: int = 96) -> None:
    """Write scenes 0..count-1 of a seed: images, and three COCO files in `root`.

    Images are `root/split/000123.png`, named in the JSON relative to `root/split`. `objects_{split}.json` has
    the objects with their classes, `varieties_{split}.json` the same with finer ones ("car 3"), for the
    encoder's warm-up; `parts_{split}.json` has the parts, whose `object_id` is their object's annotation id.
    """
    folder = make_folder(root / split)
    data = PartShapes(seed, size)
    images: list[ImageLabels] = []
    varieties: list[ImageLabels] = []
    for index in range(count):
        scene = data[index]
        image = CocoImage(index + 1, f"{index:06d}.png", size, size)
        with explained(folder):
            Image.fromarray(scene.image).save(folder / image.file_name)
        images.append(ImageLabels(image, tuple(map(_label, scene.objects))))
        varieties.append(ImageLabels(image, tuple(map(_variety, images[-1].objects, scene.objects))))
    coco.write_objects(root / f"objects_{split}.json", images)
    coco.write_objects(root / f"varieties_{split}.json", varieties)
    coco.write_parts(root / f"parts_{split}.json", images)


def _label(drawn: SceneObject) -> ObjectLabel:
    parts = tuple(PartLabel(part.name, encoded(part.mask)) for part in drawn.parts)
    return ObjectLabel(drawn.category, encoded(drawn.mask), parts)


def _variety(label: ObjectLabel, drawn: SceneObject) -> ObjectLabel:
    return replace(label, category=f"{drawn.category} {drawn.variety}")
