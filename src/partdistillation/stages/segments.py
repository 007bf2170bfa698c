"""Stage 2: group every object's pixels into class-agnostic segments (paper, section 4.2)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from partdistillation.config import CrfConfig, Device, Inputs, PixelsConfig, Recipe, SegmentsConfig
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import resize_longest
from partdistillation.errors import ConfigError
from partdistillation.functional.dense_crf import dense_crf_marginals
from partdistillation.functional.grouping import combine_levels, group_objects
from partdistillation.functional.masks import decode, encode, resize_mask
from partdistillation.models.devices import choose_device
from partdistillation.models.encoder import STRIDE, Encoder
from partdistillation.models.pretrained import read_config
from partdistillation.models.sources import resolve
from partdistillation.runs.engine import map_rows
from partdistillation.runs.profiling import span
from partdistillation.runs.records import ObjectRow, ObjectSegments, Segment, SegmentRow
from partdistillation.runs.stage_log import Stage
from partdistillation.stages import objects

FOLDER = "segments"
STAGE = Stage("segments", folders=(FOLDER,), sections=("segments", "encoder"))

FeatureMap = Float[Tensor, "channel rows columns"]


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/segments`: a row an image, with the segments of each of its objects."""
    objects_dir = inputs.out / objects.FOLDER
    return map_rows(
        inputs.out / FOLDER,
        source=objects_dir,
        read=ObjectRow,
        row=SegmentRow,
        make=partial(_make_segmenter, inputs.need("images"), recipe, inputs.device),
        settings={**recipe.segments.fingerprint(), "encoder": recipe.encoder},
        upstream=resolve(recipe.encoder).files,
        workers=inputs.workers,
        label="segments",
    )


def _make_segmenter(images_dir: Path, recipe: Recipe, device: Device) -> Callable[[ObjectRow], SegmentRow]:
    features = make_features(recipe.encoder, recipe.segments, choose_device(device))
    return partial(segment_row, images_dir=images_dir, features=features, config=recipe.segments)


def segment_row(
    row: ObjectRow, images_dir: Path, features: Callable[[np.ndarray], FeatureMap], config: SegmentsConfig
) -> SegmentRow:
    """Segment the objects of one image."""
    with span("read"):
        image = load_image_of(images_dir / row.file_name, row.height, row.width)
        masks = np.stack([decode(instance.rle, row.height, row.width) for instance in row.objects])
    seeds = [object_seed(config.seed, row.image_id, instance.object_id) for instance in row.objects]
    label_maps = segment_objects(image, masks, features, config, seeds)
    with span("encode masks"):
        segmented = (
            ObjectSegments(instance.object_id, _segments(labels, mask))
            for instance, labels, mask in zip(row.objects, label_maps, masks, strict=True)
        )
        return row.to(SegmentRow, segmented)


def segment_objects(
    image: UInt8[np.ndarray, "height width 3"],
    masks: Bool[np.ndarray, "object height width"],
    features: Callable[[UInt8[np.ndarray, "h w 3"]], FeatureMap],
    config: SegmentsConfig,
    seeds: Sequence[int],
) -> list[Int[np.ndarray, "height width"]]:
    """Label maps of the objects of one image: 0 outside the object, 1..k inside.

    As in the paper all is done on the image at its working size (longest side `image_size`): k-means on the
    feature map, labels at image size, dense CRF. The labels are then brought to the image's own size.
    `features` gives the map of an image, which covers the image padded to the right and below. An object
    that vanishes at the working size has no segments.
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
        with span("group"):
            grouped = _group(maps, inside[kept], config, [seeds[place] for place in kept.tolist()])
        if config.crf.enabled:
            with span("refine"):
                grouped = _refine_objects(small, grouped, config.crf, maps.device)
    for place, labels in zip(kept.tolist(), grouped, strict=True):
        label_maps[place] = labels
    with span("resize"):
        return [to_size(labels, *image.shape[:2]) for labels in label_maps]


def make_features(
    encoder: str, config: PixelsConfig, device: torch.device
) -> Callable[[np.ndarray], FeatureMap]:
    """The function from a working-size image to its feature map: the trained encoder's, or a control's."""
    if config.features == "rgb_xy":
        return colour_and_position
    trained = _encoder(encoder, config.levels, device)
    chosen = Encoder.random(trained, config.seed) if config.features == "random" else trained
    return partial(encoder_features, chosen)


def _encoder(name: str, levels: Sequence[int], device: torch.device) -> Encoder:
    """A Mask2Former's, a plain backbone, or that of a Detic that was converted (supplement, table 4)."""
    from partdistillation.objects.detic.config import MODEL_TYPE
    from partdistillation.objects.detic.files import load

    source = resolve(name).path
    if read_config(source).get("model_type") != MODEL_TYPE:
        return Encoder.from_pretrained(source, levels=levels, device=device)
    if 2 in levels:
        raise ConfigError(f"segments.levels: expected some of 3, 4, 5, as {name} is a Detic, found {levels}")
    network = load(Path(source))
    mean, std = network.config.pixel_mean, network.config.pixel_std
    return Encoder(network.backbone, levels=levels, mean=mean, std=std, device=device)


def encoder_features(encoder: Encoder, image: UInt8[np.ndarray, "height width 3"]) -> FeatureMap:
    """The encoder's levels, the coarser ones upsampled to the finest, concatenated."""
    return combine_levels([level[0] for level in encoder.levels([image])])


def colour_and_position(image: UInt8[np.ndarray, "height width 3"]) -> FeatureMap:
    """A control without learning: RGB and (x, y), in 0..1, at 1/4 of the size, padded like an encoder's."""
    colour = torch.from_numpy(image).movedim(-1, 0).float()[None] / 255
    colour = torch.nn.functional.pad(
        colour, (0, -image.shape[1] % STRIDE, 0, -image.shape[0] % STRIDE), mode="replicate"
    )
    colour = torch.nn.functional.avg_pool2d(colour, 4)[0]
    y, x = (torch.arange(size, dtype=torch.float32) for size in colour.shape[1:])
    longest = max(image.shape[:2]) / 4
    position = torch.stack(torch.meshgrid(x, y, indexing="xy")) / longest
    return torch.cat([colour, position])


def object_seed(seed: int, image_id: str, object_id: int) -> int:
    """A seed of an object's own: its segments don't depend on what else is labelled, or in which order."""
    text = f"{seed}/{object_id}/{image_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def _group(
    features: FeatureMap, masks: Bool[np.ndarray, "object h w"], config: SegmentsConfig, seeds: Sequence[int]
) -> list[np.ndarray]:
    """Group on the padded field that the feature map covers, and cut the padding off."""
    height, width = masks.shape[1:]
    labels = group_objects(
        features,
        padded(masks).to(features.device),
        k=config.k,
        metric=config.metric,
        restarts=config.restarts,
        seeds=seeds,
    )
    return list(labels[:, :height, :width].cpu().numpy())


def padded(masks: Bool[np.ndarray, "object h w"]) -> Bool[Tensor, "object height width"]:
    """Masks on the field that an encoder's maps cover: the image padded to multiples of its stride."""
    height, width = masks.shape[1:]
    return torch.from_numpy(np.pad(masks, ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE))))


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
    labels: Int[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> tuple[Segment, ...]:
    regions = ((labels == label) & mask for label in range(1, int(labels.max()) + 1))
    return tuple(Segment(int(np.count_nonzero(region)), encode(region)) for region in regions if region.any())
