"""Stage 2: group every object's pixels into class-agnostic segments (paper, section 4.2)."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from scipy import ndimage
from torch import Tensor

from partdistillation.config import CrfConfig, Device, Inputs, Recipe, SegmentsConfig
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import resize_longest
from partdistillation.functional.dense_crf import dense_crf_marginals
from partdistillation.functional.grouping import group_objects
from partdistillation.functional.masks import decode, encode, resize_mask
from partdistillation.models.devices import choose_device
from partdistillation.runs.engine import map_rows
from partdistillation.runs.profiling import span
from partdistillation.runs.records import Object, ObjectRow, ObjectSegments, Segment, SegmentRow
from partdistillation.runs.run_folder import COARSE_SEGMENTS, SEGMENTS
from partdistillation.runs.stage_log import Stage
from partdistillation.stages import objects
from partdistillation.stages.pixel_features import (
    FeatureMap,
    PixelFeatures,
    encoder_files,
    encoder_settings,
    make_features,
)

FOLDER = SEGMENTS
STAGE = Stage(
    "segments",
    folders=(FOLDER,),
    sections=("segments", "encoder"),
    has_rows=True,
    optional=(COARSE_SEGMENTS,),
)

_FEW, _PIXELS_AT_ONCE = 10, 50_000_000
"""Objects are segmented so many at a time, more while their masks are small: 9 bytes a pixel."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/segments`: a row an image, with the segments of each of its objects.

    Before it, `out/coarse_segments`, where objects are grouped into fewer segments too.
    """
    choose_device(inputs.device)
    objects.require_unchanged(inputs)
    by_folder = ways(recipe)
    if COARSE_SEGMENTS in by_folder:
        _label(inputs, by_folder[COARSE_SEGMENTS], COARSE_SEGMENTS)
    return _label(inputs, by_folder[FOLDER], FOLDER)


def ways(recipe: Recipe) -> dict[str, Recipe]:
    """By folder, the settings of the segments that stage 3 learns."""
    numbers = {FOLDER: recipe.segments.k}
    if recipe.segments.coarse_k:
        numbers[COARSE_SEGMENTS] = recipe.segments.coarse_k
    return {
        folder: replace(recipe, segments=replace(recipe.segments, k=k, coarse_k=0))
        for folder, k in numbers.items()
    }


def _label(inputs: Inputs, recipe: Recipe, folder: str) -> Path:
    settings = recipe.segments.fingerprint() | encoder_settings(recipe.encoder, recipe.segments)
    del settings["coarse_k"]
    return map_rows(
        inputs.out / folder,
        source=inputs.out / objects.FOLDER,
        read=ObjectRow,
        row=SegmentRow,
        make=partial(make_segmenter, inputs.need("images"), recipe, inputs.device),
        images=inputs.need("images"),
        settings=settings,
        upstream=encoder_files(recipe.encoder, recipe.segments),
        workers=inputs.workers,
        engine=inputs.driver,
        label=folder.replace("_", " "),
    )


def make_segmenter(images_dir: Path, recipe: Recipe, device: Device) -> Callable[[ObjectRow], SegmentRow]:
    """The function that segments the objects of one image, with its encoder loaded."""
    features = make_features(recipe.encoder, recipe.segments, choose_device(device))
    return partial(segment_row, images_dir=images_dir, features=features, config=recipe.segments)


def segment_row(
    row: ObjectRow, images_dir: Path, features: PixelFeatures, config: SegmentsConfig
) -> SegmentRow:
    """Segment the objects of one image, some at a time: there may be a thousand.

    Raises:
        InputError: the image can't be read, or has another size than when its objects were found.
    """
    with span("read"):
        image = load_image_of(images_dir / row.file_name, row.height, row.width)
    size = max(_FEW, _PIXELS_AT_ONCE // (row.height * row.width))
    segmented = [
        segments
        for start in range(0, len(row.objects), size)
        for segments in _segmented(row, row.objects[start : start + size], image, features, config)
    ]
    return row.to(SegmentRow, segmented)


def _segmented(
    row: ObjectRow,
    instances: Sequence[Object],
    image: UInt8[np.ndarray, "height width 3"],
    features: PixelFeatures,
    config: SegmentsConfig,
) -> list[ObjectSegments]:
    with span("read"):
        masks = np.stack([decode(instance.rle, row.height, row.width) for instance in instances])
    seeds = [object_seed(config.seed, row.image_id, instance.object_id) for instance in instances]
    label_maps = segment_objects(image, masks, features, config, seeds)
    with span("encode masks"):
        return [
            ObjectSegments(instance.object_id, _segments(labels, mask, config.min_piece))
            for instance, labels, mask in zip(instances, label_maps, masks, strict=True)
        ]


def segment_objects(
    image: UInt8[np.ndarray, "height width 3"],
    masks: Bool[np.ndarray, "object height width"],
    features: PixelFeatures,
    config: SegmentsConfig,
    seeds: Sequence[int],
) -> list[Int[np.ndarray, "height width"]]:
    """Label maps of the objects of one image: 0 outside the object, 1..k inside.

    As in the paper all is done on the image at its working size (longest side `image_size`): k-means on the
    feature map, labels at image size, dense CRF. The labels are then brought to the image's own size.
    An object that vanishes at the working size has no segments.
    """
    with span("resize"):
        small = resize_longest(image, config.image_size)
        height, width = small.shape[:2]
        inside = np.stack([resize_mask(mask, height, width) for mask in masks])
    label_maps = [np.zeros((height, width), np.int64)] * len(masks)
    kept = np.flatnonzero(inside.any(axis=(1, 2)))  # others are less than a pixel at the working size
    grouped: list[np.ndarray] = []
    if len(kept):
        with span("encode"):
            maps = features(small)
            if maps.device.type == "mps":
                maps = maps.cpu()  # k-means compares in float64, which Apple's GPUs lack
        with span("group"):
            padded = features.padded(inside[kept]).to(maps.device)
            grouped = _group(maps, padded, config, [seeds[place] for place in kept.tolist()])
            grouped = [labels[:height, :width] for labels in grouped]  # without the padding
        if config.crf.enabled:
            with span("refine"):
                grouped = _refine_objects(small, grouped, config.crf, maps.device)
    for place, labels in zip(kept.tolist(), grouped, strict=True):
        label_maps[place] = labels
    with span("resize"):
        return [to_size(labels, *image.shape[:2]) for labels in label_maps]


def object_seed(seed: int, image_id: str, object_id: int) -> int:
    """A seed of an object's own: its segments don't depend on what else is labelled, or in which order."""
    text = f"{seed}/{object_id}/{image_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def _group(
    features: FeatureMap,
    masks: Bool[Tensor, "object height width"],
    config: SegmentsConfig,
    seeds: Sequence[int],
) -> list[Int[np.ndarray, "height width"]]:
    labels = group_objects(
        features,
        masks,
        k=config.k,
        metric=config.metric,
        restarts=config.restarts,
        seeds=seeds,
    )
    return list(labels.cpu().numpy())


def _refine_objects(
    image: UInt8[np.ndarray, "h w 3"],
    labels: Sequence[Int[np.ndarray, "h w"]],
    crf: CrfConfig,
    device: torch.device,
) -> list[np.ndarray]:
    if device.type == "cuda":
        return _refine_together(image, labels, crf, device)
    return [_refine(image, label_map, crf) for label_map in labels]


def _refine(image: UInt8[np.ndarray, "h w 3"], labels: Int[np.ndarray, "h w"], crf: CrfConfig) -> np.ndarray:
    """Dense CRF over the background and the segments, of which only segments compete inside the object.

    Where an object has the background's colours (between spokes, say), the background would win pixels that
    the object's mask says are the object's, and the segments would be left with holes.
    Farther than twice the bilateral kernel's standard deviation from the object, nothing but background is
    looked for: on photographs, less than 1 label in 100,000 inside changed (benchmarks/dense_crf.py).
    """
    marginals = dense_crf_marginals(image, labels, int(labels.max()) + 1, **_crf_settings(crf))
    return np.where(labels > 0, marginals[1:].argmax(axis=0) + 1, 0)


def _refine_together(
    image: UInt8[np.ndarray, "h w 3"],
    labels: Sequence[Int[np.ndarray, "h w"]],
    crf: CrfConfig,
    device: torch.device,
) -> list[np.ndarray]:
    """The same for all objects of an image in one go, on a GPU."""
    from partdistillation.kernels.dense_crf_torch import dense_crf_objects  # imports numba

    before = torch.from_numpy(np.stack(labels)).to(device)
    marginals = dense_crf_objects(torch.from_numpy(image).to(device), before, **_crf_settings(crf))
    best = marginals[:, 1:].argmax(dim=1) + 1
    return list(torch.where(before > 0, best, 0).cpu().numpy())


def _crf_settings(crf: CrfConfig) -> dict[str, Any]:
    settings = {name: value for name, value in asdict(crf).items() if name != "enabled"}
    return {**settings, "certain_beyond": 2 * crf.bilateral_sxy}


def to_size(labels: Int[np.ndarray, "h w"], height: int, width: int) -> Int[np.ndarray, "height width"]:
    """A label map at another size: nearest neighbour, by pixel centres."""
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    return np.asarray(labels[rows[:, None], columns])


def _segments(
    labels: Int[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"], min_piece: float
) -> tuple[Segment, ...]:
    regions = ((labels == label) & mask for label in range(1, int(labels.max()) + 1))
    if min_piece:
        least = min_piece * np.count_nonzero(mask)
        regions = (piece for region in regions for piece in pieces(region, least))
    return tuple(Segment(int(np.count_nonzero(region)), encode(region)) for region in regions if region.any())


def pieces(
    region: Bool[np.ndarray, "height width"], least: float
) -> Iterator[Bool[np.ndarray, "height width"]]:
    """The connected pieces of a region that have at least `least` pixels: of the wheels, each wheel."""
    numbers, count = ndimage.label(region)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)
    return (numbers == number for number in range(1, count + 1) if areas[number] >= least)
