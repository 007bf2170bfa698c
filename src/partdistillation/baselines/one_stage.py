"""Baseline: one-stage self-training, pixels instead of proposals (supplement, section 3).

Pixel features of all objects of a class over the whole data set are clustered together; the cluster of a
pixel is its part class. Then the same self-training as in stage 5, from stage 0's network.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from partdistillation.baselines import FOLDER
from partdistillation.config import Device, Inputs, Recipe, SegmentsConfig
from partdistillation.data.images import load_image
from partdistillation.data.transforms import resize_longest
from partdistillation.functional.clustering import cluster_stream
from partdistillation.functional.grouping import assign_to_centroids, mask_at
from partdistillation.functional.masks import decode, encode, resize_mask
from partdistillation.models.devices import choose_device
from partdistillation.models.sources import resolve
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Row
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import StageReader, read_rows, stage_hash
from partdistillation.stages import distillation, objects, part_classes
from partdistillation.stages.class_features import sorted_by_class
from partdistillation.stages.segments import FeatureMap, make_features, object_seed, padded, to_size

NAME = "one_stage"
PIXELS_PER_OBJECT = 32
"""Pixels of an object that are clustered, drawn at random: a class's objects count alike.

With Swin-L's 1,152 channels they take 72 KiB on disk.
"""
PIXELS = "pixels"
PARTS = "parts"
_SCRATCH = ".features"

Features = Callable[[UInt8[np.ndarray, "h w 3"]], FeatureMap]
Labeller = Callable[[Shard[ImageRef]], list[PartRow]]


@dataclass(frozen=True)
class ObjectPixels:
    """Some pixels of an object: their features, one after the other."""

    category: str
    count: int
    features: NDArray[np.float16]


@dataclass(frozen=True)
class PixelRow(Row):
    objects: tuple[ObjectPixels, ...]


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/baselines/one_stage`: its pixels, part classes, parts and part model."""
    folder = inputs.out / FOLDER / NAME
    collect(inputs, recipe, folder)
    find_part_classes(recipe, folder)
    lesson = distillation.Lesson(
        name=NAME,
        parts=label(inputs, recipe, folder),
        num_parts=recipe.ranking.num_parts,
        initial=recipe.encoder,
        model=folder / distillation.FOLDER,
        config=recipe.distillation,
    )
    return distillation.learn_parts(lesson, inputs, recipe)


# ---------------------------------------------------------------------- pixels


def collect(inputs: Inputs, recipe: Recipe, folder: Path) -> Path:
    """Write `folder/pixels`: features of some pixels of every object."""
    objects_dir = inputs.out / objects.FOLDER
    return run_shards(
        folder / PIXELS,
        row=PixelRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings=_settings(recipe),
        upstream=[objects_dir, *resolve(recipe.encoder).files],
        make_work=partial(_make_collector, inputs.need("images"), objects_dir, recipe, inputs.device),
        workers=inputs.workers,
        label=f"{NAME}: pixels",
    )


def _settings(recipe: Recipe) -> dict[str, Json]:
    names = ("features", "levels", "metric", "image_size", "seed")
    return {"encoder": recipe.encoder} | {name: recipe.segments.to_dict()[name] for name in names}


def _make_collector(
    images_dir: Path, objects_dir: Path, recipe: Recipe, device: Device
) -> Callable[[Shard[ImageRef]], list[PixelRow]]:
    reader = StageReader(objects_dir, ObjectRow)
    features = make_features(recipe.encoder, recipe.segments, choose_device(device))

    def work(shard: Shard[ImageRef]) -> list[PixelRow]:
        return [pixel_row(row, images_dir, features, recipe.segments) for row in reader.read(shard.name)]

    return work


class _Field(NamedTuple):
    """An image's feature map, its objects' masks on the field that the map covers, and the image's share."""

    features: FeatureMap
    masks: Bool[Tensor, "object height width"]
    size: tuple[int, int]


def pixel_row(row: ObjectRow, images_dir: Path, features: Features, config: SegmentsConfig) -> PixelRow:
    """Features of some pixels of each object of one image."""
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    if row.status == "rejected":
        return PixelRow(*header, ())
    field = _field(row, images_dir, features, config)
    found = (
        _pixels(field.features, mask, one.category, object_seed(config.seed, row.image_id, one.object_id))
        for one, mask in zip(row.objects, field.masks, strict=True)
    )
    return PixelRow(*header, tuple(found))


def _field(row: ObjectRow, images_dir: Path, features: Features, config: SegmentsConfig) -> _Field:
    image = resize_longest(load_image(images_dir / row.file_name), config.image_size)
    height, width = image.shape[:2]
    masks = [resize_mask(decode(one.rle, row.height, row.width), height, width) for one in row.objects]
    found = features(image)
    if config.metric == "cosine":
        found = torch.nn.functional.normalize(found, dim=0)
    return _Field(found, padded(np.stack(masks)).to(found.device), (height, width))


def _pixels(features: FeatureMap, mask: Tensor, category: str, seed: int) -> ObjectPixels:
    points = features[:, mask_at(mask, *features.shape[1:])].T.cpu().numpy().astype(np.float16)
    chosen = np.random.default_rng(seed).permutation(len(points))[:PIXELS_PER_OBJECT]
    return ObjectPixels(category, len(chosen), points[chosen].reshape(-1))


# ---------------------------------------------------------------------- part classes


def find_part_classes(recipe: Recipe, folder: Path) -> Path:
    """Write `folder/part_classes`: the centroids of each object class's pixels, and how many there were.

    Raises:
        SettingsChanged: they are there, but with other settings or from other pixels.
    """
    classes_dir, pixels_dir = folder / part_classes.FOLDER, folder / PIXELS
    config = recipe.ranking
    settings = {"num_parts": config.num_parts, "restarts": config.restarts, "seed": config.seed}
    origin: part_classes.Origin = {"settings": settings, "pixels": stage_hash(pixels_dir)}
    if part_classes.are_found(classes_dir, origin, also_delete=PARTS):
        return classes_dir
    counts: Counter[str] = Counter()
    with sorted_by_class(classes_dir / _SCRATCH) as features:
        for row in read_rows(pixels_dir, PixelRow):
            for found in row.objects:
                features.add(found.category, found.features.reshape(found.count, -1))
                counts[found.category] += found.count
        centroids = {
            category: cluster_stream(
                partial(features.pieces, category),
                k=config.num_parts,
                restarts=config.restarts,
                seed=config.seed,
            )
            for category in features.categories()
        }
    classes: dict[str, Json] = {
        category: {"pixels": counts[category], "part_classes": len(found)}
        for category, found in centroids.items()
    }
    part_classes.write(classes_dir, centroids, origin, classes)
    return classes_dir


# ---------------------------------------------------------------------- parts


def label(inputs: Inputs, recipe: Recipe, folder: Path) -> Path:
    """Write `folder/parts`: each cluster's pixels in an object are one part. No CRF, as in the paper."""
    objects_dir, classes_dir = inputs.out / objects.FOLDER, folder / part_classes.FOLDER
    return run_shards(
        folder / PARTS,
        row=PartRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings=_settings(recipe),
        upstream=[objects_dir, classes_dir, *resolve(recipe.encoder).files],
        make_work=partial(
            _make_labeller, inputs.need("images"), objects_dir, classes_dir, recipe, inputs.device
        ),
        workers=inputs.workers,
        label=f"{NAME}: parts",
    )


def _make_labeller(
    images_dir: Path, objects_dir: Path, classes_dir: Path, recipe: Recipe, device: Device
) -> Labeller:
    reader = StageReader(objects_dir, ObjectRow)
    features = make_features(recipe.encoder, recipe.segments, choose_device(device))
    centroids = {name: torch.from_numpy(c) for name, c in part_classes.read(classes_dir).items()}

    def work(shard: Shard[ImageRef]) -> list[PartRow]:
        rows = reader.read(shard.name)
        return [part_row(row, images_dir, features, centroids, recipe.segments) for row in rows]

    return work


def part_row(
    row: ObjectRow,
    images_dir: Path,
    features: Features,
    centroids: Mapping[str, Tensor],
    config: SegmentsConfig,
) -> PartRow:
    """The parts of one image's objects: its pixels by their nearest centroid."""
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    if row.status == "rejected":
        return PartRow(*header, ())
    field = _field(row, images_dir, features, config)
    height, width = field.size
    found = []
    for one, mask in zip(row.objects, field.masks, strict=True):
        labels = assign_to_centroids(
            field.features, mask, centroids[one.category].to(mask.device), metric=config.metric
        )
        found.append(_parts(one, row, labels[:height, :width].cpu().numpy()))
    return PartRow(*header, tuple(found))


def _parts(found: Object, row: ObjectRow, labels: Int[np.ndarray, "h w"]) -> ObjectParts:
    """The object's parts: a label of the working image is a part class."""
    labels = np.where(decode(found.rle, row.height, row.width), to_size(labels, row.height, row.width), 0)
    parts = (
        Part(int(value) - 1, 1.0, 1.0, int(np.count_nonzero(labels == value)), encode(labels == value))
        for value in np.unique(labels[labels > 0])
    )
    return ObjectParts(found.object_id, found.category, tuple(parts))
