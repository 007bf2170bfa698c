"""PartShapes as files: PNG images and COCO JSON, for the ordinary readers."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from partdistillation.data.coco import CocoImage
from partdistillation.export.coco import InstanceLabel, PartLabel, write_instances, write_parts
from partdistillation.functional.masks import encode
from partdistillation.part_shapes.scene import PartShapes, SceneObject


def write_coco(root: Path, split: str, *, seed: int, count: int, size: int = 96) -> None:
    """Write scenes 0..count-1 of a seed: images, and three COCO files in `root`.

    Images are `root/split/000123.png`, named in the JSON relative to `root/split`. `objects_{split}.json` has
    the objects with their classes, `varieties_{split}.json` the same with finer ones ("car 3"), for the
    encoder's warm-up; `parts_{split}.json` has the parts, whose `object_id` is their object's annotation id.
    """
    folder = root / split
    folder.mkdir(parents=True, exist_ok=True)
    data = PartShapes(seed, size)
    images: list[CocoImage] = []
    objects: list[InstanceLabel] = []
    varieties: list[InstanceLabel] = []
    parts: list[PartLabel] = []
    for index in range(count):
        scene = data[index]
        image = CocoImage(index + 1, f"{index:06d}.png", size, size)
        Image.fromarray(scene.image).save(folder / image.file_name)
        images.append(image)
        for found in scene.objects:
            identity = len(objects) + 1
            objects.append(InstanceLabel(image.id, identity, found.category, encode(found.mask)))
            varieties.append(replace(objects[-1], category=f"{found.category} {found.variety}"))
            parts += part_labels(image, identity, found)
    write_instances(root / f"objects_{split}.json", images, objects)
    write_instances(root / f"varieties_{split}.json", images, varieties)
    write_parts(root / f"parts_{split}.json", images, parts)


def part_labels(image: CocoImage, object_id: int, found: SceneObject) -> list[PartLabel]:
    return [PartLabel(image.id, object_id, found.category, p.name, encode(p.mask)) for p in found.parts]
