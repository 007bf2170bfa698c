"""Baseline: one-stage self-training, pixels instead of proposals (supplement, section 3).

Pixel features of all objects of a class over the whole data set are clustered together; the cluster of a
pixel is its part class. Then the same self-training as in stage 5, from stage 0's network.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float16, Int
from numpy.typing import NDArray
from torch import Tensor

from partdistillation.baselines import FOLDER
from partdistillation.config import Device, Inputs, KMeansConfig, PixelsConfig, Recipe
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import resize_longest
from partdistillation.functional.clustering import cluster_stream
from partdistillation.functional.grouping import assign_to_centroids, mask_at
from partdistillation.functional.masks import decode, encode, resize_mask
from partdistillation.models.devices import choose_device
from partdistillation.runs.engine import map_rows
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Row
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.stages import distillation, objects, part_classes
from partdistillation.stages.class_clustering import Clusters, Pieces
from partdistillation.stages.pixel_features import (
    FeatureMap,
    PixelFeatures,
    encoder_files,
    encoder_settings,
    make_features,
)
from partdistillation.stages.segments import object_seed, to_size

NAME = "one_stage"
PIXELS_PER_OBJECT = 32
"""Pixels of an object that are clustered, drawn at random: a class's objects count alike.

With Swin-L's 1,152 channels they take 72 KiB on disk.
"""
PIXELS = "pixels"
PARTS = "parts"


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
    find_part_classes(inputs, recipe, folder)
    lesson = replace(
        distillation.lesson(inputs, recipe),
        name=NAME,
        parts=label(inputs, recipe, folder),
        initial=recipe.encoder,
        model=folder / distillation.FOLDER,
    )
    return distillation.learn_parts(lesson, inputs)


# ---------------------------------------------------------------------- pixels


def collect(inputs: Inputs, recipe: Recipe, folder: Path) -> Path:
    """Write `folder/pixels`: features of some pixels of every object."""
    objects_dir = inputs.out / objects.FOLDER
    objects.require_unchanged(inputs)
    return map_rows(
        folder / PIXELS,
        source=objects_dir,
        read=ObjectRow,
        row=PixelRow,
        make=partial(_make_collector, inputs.need("images"), recipe, inputs.device),
        images=inputs.need("images"),
        settings=_settings(recipe),
        upstream=encoder_files(recipe.encoder, recipe.segments),
        workers=inputs.workers,
        engine=inputs.driver,
        label=f"{NAME}: pixels",
    )


def _settings(recipe: Recipe) -> dict[str, Json]:
    config = recipe.segments.part(PixelsConfig)
    return config.fingerprint() | encoder_settings(recipe.encoder, config)


def _make_collector(images_dir: Path, recipe: Recipe, device: Device) -> Callable[[ObjectRow], PixelRow]:
    features = make_features(recipe.encoder, recipe.segments, choose_device(device))
    return partial(pixel_row, images_dir=images_dir, features=features, config=recipe.segments)


class _Field(NamedTuple):
    """An image's feature map, its objects' masks on the field that the map covers, and the image's share."""

    features: FeatureMap
    masks: Bool[Tensor, "object height width"]
    size: tuple[int, int]


def pixel_row(row: ObjectRow, images_dir: Path, features: PixelFeatures, config: PixelsConfig) -> PixelRow:
    """Features of some pixels of each object of one image."""
    field = _field(row, images_dir, features, config)
    pixels = (
        _pixels(
            field.features,
            mask,
            instance.category,
            object_seed(config.seed, row.image_id, instance.object_id),
        )
        for instance, mask in zip(row.objects, field.masks, strict=True)
    )
    return row.to(PixelRow, pixels)


def _field(row: ObjectRow, images_dir: Path, features: PixelFeatures, config: PixelsConfig) -> _Field:
    image = resize_longest(
        load_image_of(images_dir / row.file_name, row.height, row.width), config.image_size
    )
    height, width = image.shape[:2]
    masks = [
        resize_mask(decode(instance.rle, row.height, row.width), height, width) for instance in row.objects
    ]
    feature_map = features(image)
    if config.metric == "cosine":
        feature_map = torch.nn.functional.normalize(feature_map, dim=0)
    return _Field(feature_map, features.padded(np.stack(masks)).to(feature_map.device), (height, width))


def _pixels(features: FeatureMap, mask: Tensor, category: str, seed: int) -> ObjectPixels:
    points = features[:, mask_at(mask, *features.shape[1:])].T.cpu().numpy().astype(np.float16)
    chosen = np.random.default_rng(seed).permutation(len(points))[:PIXELS_PER_OBJECT]
    return ObjectPixels(category, len(chosen), points[chosen].reshape(-1))


# ---------------------------------------------------------------------- part classes


def find_part_classes(inputs: Inputs, recipe: Recipe, folder: Path) -> Path:
    """Write `folder/part_classes`: the centroids of each object class's pixels, and how many there were.

    Raises:
        SettingsChanged: they are there, but with other settings or from other pixels.
    """
    classes_dir, pixels_dir = folder / part_classes.FOLDER, folder / PIXELS
    config = recipe.ranking.part(KMeansConfig)
    part_classes.find(
        classes_dir,
        inputs,
        source=pixels_dir,
        read=PixelRow,
        features=_features,
        cluster=partial(_clusters, config=config),
        origin={"settings": config.fingerprint(), "pixels": stage_hash(pixels_dir)},
        also_delete=PARTS,
        label=NAME,
    )
    return classes_dir


def _features(row: PixelRow) -> Iterator[tuple[str, Float16[np.ndarray, "n dim"]]]:
    for pixels in row.objects:
        if pixels.count:
            yield pixels.category, pixels.features.reshape(pixels.count, -1)


def _clusters(count: int, pieces: Pieces, config: KMeansConfig) -> Clusters:
    centroids = cluster_stream(pieces, k=config.num_parts, restarts=config.restarts, seed=config.seed)
    return Clusters(centroids, {"pixels": count, "part_classes": len(centroids)})


# ---------------------------------------------------------------------- parts


def label(inputs: Inputs, recipe: Recipe, folder: Path, classes_dir: Path | None = None) -> Path:
    """Write `folder/parts`: each cluster's pixels in an object are one part. No CRF, as in the paper.

    The part classes are those in `folder`, or of other images in `classes_dir`: then nothing was trained.
    """
    objects_dir = inputs.out / objects.FOLDER
    classes_dir = classes_dir or folder / part_classes.FOLDER
    return map_rows(
        folder / PARTS,
        source=objects_dir,
        read=ObjectRow,
        row=PartRow,
        make=partial(_make_labeller, inputs.need("images"), classes_dir, recipe, inputs.device),
        images=inputs.need("images"),
        settings=_settings(recipe),
        upstream=[classes_dir, *encoder_files(recipe.encoder, recipe.segments)],
        workers=inputs.workers,
        engine=inputs.driver,
        label=f"{NAME}: parts",
    )


def _make_labeller(
    images_dir: Path, classes_dir: Path, recipe: Recipe, device: Device
) -> Callable[[ObjectRow], PartRow]:
    return partial(
        part_row,
        images_dir=images_dir,
        features=make_features(recipe.encoder, recipe.segments, choose_device(device)),
        centroids=part_classes.read(classes_dir),
        config=recipe.segments,
    )


def part_row(
    row: ObjectRow,
    images_dir: Path,
    features: PixelFeatures,
    centroids: part_classes.Centroids,
    config: PixelsConfig,
) -> PartRow:
    """The parts of one image's objects: its pixels by their nearest centroid."""
    field = _field(row, images_dir, features, config)
    height, width = field.size
    labelled = []
    for instance, mask in zip(row.objects, field.masks, strict=True):
        if instance.category not in centroids:  # of other images' classes
            labelled.append(ObjectParts(instance.object_id, instance.category, ()))
            continue
        own = torch.from_numpy(centroids[instance.category]).to(mask.device)
        labels = assign_to_centroids(field.features, mask, own, metric=config.metric)
        labelled.append(_parts(instance, row, labels[:height, :width].cpu().numpy()))
    return row.to(PartRow, labelled)


def _parts(instance: Object, row: ObjectRow, labels: Int[np.ndarray, "h w"]) -> ObjectParts:
    """The object's parts: a label of the working image is a part class."""
    labels = np.where(decode(instance.rle, row.height, row.width), to_size(labels, row.height, row.width), 0)
    parts = (
        Part(int(value) - 1, 1.0, 1.0, int(np.count_nonzero(labels == value)), encode(labels == value))
        for value in np.unique(labels[labels > 0])
    )
    return ObjectParts(instance.object_id, instance.category, tuple(parts))
