"""What a part model's encoder sees of objects: of one, and of a class on average (`salient_classes`)."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.numpy import load_file, save
from torch import Tensor
from torch.nn.functional import normalize

from partdistillation.data.images import load_image_of
from partdistillation.functional.grouping import combine_levels
from partdistillation.functional.masks import decode
from partdistillation.functional.pooling import pooled
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pixel_decoder import Levels
from partdistillation.models.postprocess import on_canvas
from partdistillation.objects.salient_classes import FILE
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.tensor_keys import key_of

PER_CLASS = 50
"""Objects of a class that are averaged: more change little."""


@torch.no_grad()
def object_feature(
    network: PartMask2Former,
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
) -> Float[np.ndarray, " dim"]:
    """What the network's encoder sees inside a mask: its two coarsest levels, averaged, of unit length."""
    pixels, geometry = on_canvas(network, image, network.info.image_size)
    features = coarse_features(network.encode(pixels))
    masks = torch.from_numpy(mask)[None]
    averaged = pooled(features, masks, content=geometry.content, field=geometry.canvas)
    return normalize(averaged, dim=1)[0].numpy()


def coarse_features(levels: Levels) -> Float[Tensor, "channel rows columns"]:
    """The two coarsest of an image's levels, each place of each of unit length, at the size of the finer."""
    return combine_levels([normalize(level[0].float(), dim=0) for level in levels[-2:]])


def write_means(folder: Path, network: PartMask2Former, rows: Iterable[ObjectRow], images_dir: Path) -> None:
    """Write the mean of each class's objects, of as many as are averaged, in `folder`.

    Raises:
        InputError: an image can't be read, or has another size than when its objects were found.
    """
    replace_file(folder / FILE, save(_means(network, rows, images_dir)))


def add_means(folder: Path, network: PartMask2Former, rows: Iterable[ObjectRow], images_dir: Path) -> None:
    """Add the means of other classes to those in `folder`, which stay as they are.

    Raises:
        InputError: as `write_means`.
    """
    replace_file(folder / FILE, save(load_file(folder / FILE) | _means(network, rows, images_dir)))


def _means(
    network: PartMask2Former, rows: Iterable[ObjectRow], images_dir: Path
) -> dict[str, Float[np.ndarray, " dim"]]:
    """By the keys of the file."""
    features: defaultdict[str, list[Float[np.ndarray, " dim"]]] = defaultdict(list)
    for row in rows:
        wanted = [instance for instance in row.objects if len(features[instance.category]) < PER_CLASS]
        if not wanted:
            continue
        image = load_image_of(images_dir / row.file_name, row.height, row.width)
        for instance in wanted:
            mask = decode(instance.rle, row.height, row.width)
            features[instance.category].append(object_feature(network, image, mask))
    means = {name: np.mean(seen, axis=0) for name, seen in features.items()}
    lengths = {name: np.linalg.norm(mean) for name, mean in means.items()}
    return {key_of(name): (mean / lengths[name]).astype(np.float32) for name, mean in means.items()}
