"""Stage 1: find the objects whose parts are learned (paper, section 4.1)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from partdistillation.config import Device, Inputs, ObjectsConfig, Recipe
from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.data.image_folder import scan
from partdistillation.data.images import ImageInput
from partdistillation.engine import run_shards
from partdistillation.errors import ConfigError
from partdistillation.objects import ObjectSource, log_rejected
from partdistillation.objects.annotations import AnnotatedObjects, MaskedObjects
from partdistillation.records import ObjectRow
from partdistillation.shards import Shard, make_shards
from partdistillation.store import read_rows

FOLDER = "objects"


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/objects`: a row an image, with at most `max_objects` objects."""
    images_dir = inputs.need("images")
    config = recipe.objects
    match config.source:
        case "annotations":
            path = inputs.need("objects")
            if path.is_dir():
                raise ConfigError(
                    f"--objects: expected a COCO .json file, found the folder {path}; for a folder of masks "
                    "add --objects.source masks"
                )
            dataset = read_instances(path)
            dataset.log_notes()
            images, upstream = dataset.inputs(images_dir), [path]
            make = partial(_annotated, dataset, config)
        case "masks":
            images, upstream = list(scan(images_dir).images), []
            make = partial(_masked, inputs.need("objects"), config)
        case "mask2former":
            images, upstream = list(scan(images_dir).images), []
            make = partial(_segmented, recipe.encoder, config, inputs.device)
    by_class = all(image.category for image in images)
    shards = make_shards(images, size=_shard_size(len(images)), by=_category if by_class else None)
    settings = {**config.to_dict(), "encoder": recipe.encoder if config.source == "mask2former" else None}
    folder = run_shards(
        inputs.out / FOLDER,
        row=ObjectRow,
        shards=shards,
        settings=settings,
        upstream=upstream,
        make_work=partial(_make_work, make),
        workers=inputs.workers,
        label="objects",
    )
    log_rejected(read_rows(folder, ObjectRow))
    return folder


def _shard_size(images: int) -> int:
    """256 images; fewer where there are few, so that workers share them and progress can be seen."""
    return min(256, max(1, images // 32))


def _category(image: ImageInput) -> str:
    assert image.category is not None
    return image.category


def _make_work(make: Callable[[], ObjectSource]) -> Callable[[Shard[ImageInput]], list[ObjectRow]]:
    segmenter = make()
    return lambda shard: list(segmenter(shard.inputs))


def _annotated(dataset: CocoDataset, config: ObjectsConfig) -> ObjectSource:
    return AnnotatedObjects(dataset, config.max_objects, config.min_area)


def _masked(folder: Path, config: ObjectsConfig) -> ObjectSource:
    return MaskedObjects(folder, config.max_objects, config.min_area)


def _segmented(encoder: str, config: ObjectsConfig, device: Device) -> ObjectSource:
    from partdistillation.objects.mask2former import Mask2FormerObjects

    return Mask2FormerObjects.from_pretrained(
        encoder,
        max_objects=config.max_objects,
        min_area=config.min_area,
        min_score=config.min_score,
        device=device,
    )
