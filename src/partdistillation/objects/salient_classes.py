"""What stands out in a photograph, with its class: the one whose objects look most like it.

Saliency knows no classes, and a new photograph lies in no class folder. So a part model that was learned from
salient objects keeps what the objects of each class looked like to its encoder, on average.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.numpy import load_file, save
from torch.nn.functional import normalize

from partdistillation.config import Device
from partdistillation.data.images import load_image_of
from partdistillation.errors import CheckpointError
from partdistillation.functional.grouping import combine_levels
from partdistillation.functional.masks import decode
from partdistillation.functional.pooling import pooled
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import on_canvas
from partdistillation.objects.salient import SalientObjects
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.digests import require_whole
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.runs.tensor_keys import key_of, name_of

FILE = "class_means.safetensors"
PER_CLASS = 50
"""Objects of a class that are averaged: more change little."""

Means = Mapping[str, Float[np.ndarray, " dim"]]
"""Of each class the mean of its objects' features, of unit length."""
_Pixels = UInt8[np.ndarray, "_ _ 3"]


class NamedSalientObjects:
    """The ObjectSegmenter of one object a photograph, of the class whose objects it is most like."""

    def __init__(self, salient: SalientObjects, network: PartMask2Former, means: Means) -> None:
        """`network` is the one that the means were found with."""
        self._salient, self._network, self._means = salient, network, means

    @classmethod
    def from_pretrained(
        cls, folder: Path, network: PartMask2Former, device: Device = "auto"
    ) -> "NamedSalientObjects":
        """What a part model's folder has: a saliency network's file and the means.

        Raises:
            CheckpointError: the file or the means are missing or damaged.
        """
        require_whole(folder)
        files = sorted(folder.glob("*.onnx"))
        try:
            means = {name_of(key): values for key, values in load_file(folder / FILE).items()}
        except Exception as error:  # safetensors has its own
            raise CheckpointError(
                f"{folder / FILE}: expected the means of object classes: {error}"
            ) from error
        if len(files) != 1 or len({values.shape for values in means.values()}) != 1:
            raise CheckpointError(
                f"{folder}: expected the .onnx file of a saliency network and {FILE}, found "
                f"{len(files)} such files and {len(means)} classes"
            )
        return cls(SalientObjects.from_pretrained(str(files[0]), device), network, means)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The classes whose objects it has seen."""
        return tuple(self._means)

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """For each image what stands out in it, as an object of one of the classes."""
        found = self._salient(images, ["object"]) if class_names else [[] for _ in images]
        return [
            [self._named(salient, image, class_names) for salient in objects]
            for objects, image in zip(found, images, strict=True)
        ]

    def _named(self, salient: Object, image: _Pixels, class_names: Sequence[str]) -> Object:
        mask = decode(salient.rle, *image.shape[:2])
        feature = object_feature(self._network, image, mask)
        likeness = [float(feature @ self._means[name]) for name in class_names]
        category = class_names[int(np.argmax(likeness))]
        return replace(salient, category=category)


@torch.no_grad()
def object_feature(
    network: PartMask2Former, image: _Pixels, mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, " dim"]:
    """What the network's encoder sees inside a mask: its two coarsest levels, averaged, of unit length."""
    pixels, geometry = on_canvas(network, image, network.info.image_size)
    levels = network.encode(pixels)[-2:]
    features = combine_levels([normalize(level[0].float(), dim=0) for level in levels])
    masks = torch.from_numpy(mask)[None]
    averaged = pooled(features, masks, content=geometry.content, field=geometry.canvas)
    return normalize(averaged, dim=1)[0].numpy()


def write_means(folder: Path, network: PartMask2Former, rows: Iterable[ObjectRow], images_dir: Path) -> None:
    """Write the mean of each class's objects, of as many as are averaged, in `folder`.

    Raises:
        InputError: an image can't be read, or has another size than when its objects were found.
    """
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
    unit = {key_of(name): (mean / lengths[name]).astype(np.float32) for name, mean in means.items()}
    replace_file(folder / FILE, save(unit))
