"""Objects from the instance segmentation model itself: stage 0's, or a published Mask2Former."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from partdistillation.config import Device
from partdistillation.errors import CheckpointError
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import class_probabilities, full_masks, run_network
from partdistillation.models.sources import resolve
from partdistillation.objects import Instance, to_object
from partdistillation.runs.records import Object

TOP = 100
"""Pairs of a query and a class that are looked at in an image, as Mask2Former does."""
_SHORTEST, _LONGEST = 800 / 1024, 1333 / 1024
"""Trained at 1024 pixels, Mask2Former is tested at shorter sides of 800 pixels, longer ones up to 1333."""


@dataclass(frozen=True, eq=False)
class Mask2FormerObjects:
    """The ObjectSegmenter that is a Mask2Former. It knows the classes it was trained on and no others.

    A query's class is the best of those that are asked for.
    """

    network: PartMask2Former
    min_score: float
    """Objects with a lower score are dropped."""

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, min_score: float, device: Device = "auto"
    ) -> "Mask2FormerObjects":
        """Load the model: a directory, a published one's name, or `builtin:NAME`.

        Raises:
            CheckpointError: it can't be loaded, or isn't an instance segmentation model.
        """
        return cls(load_instance_model(source, choose_device(device)), min_score)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The classes that it was trained on."""
        return self.network.info.class_names

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """The objects of each image, which the network sees one by one."""
        if not class_names:
            return [[] for _ in images]
        classes = frozenset(class_names)
        return [
            # encoded one by one: a hundred masks of a large photograph take gigabytes
            [
                to_object(*instance)
                for instance in find_instances(self.network, image, min_score=self.min_score, classes=classes)
            ]
            for image in images
        ]

    @torch.no_grad()
    def saliency(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float32[np.ndarray, "_ _"]]:
        """How probable it is that a pixel of each image is an object's, of any class."""
        return [_saliency(self.network, image) for image in images]


def _saliency(
    network: PartMask2Former, image: UInt8[np.ndarray, "height width 3"]
) -> Float32[np.ndarray, "height width"]:
    """The most that a query says of a pixel: its mask's probability times its best class's."""
    size = inference_size(image.shape[0], image.shape[1], network.info.image_size)
    view = run_network(network, image, size)
    scores = class_probabilities(network, view).amax(dim=1)
    most = (view.mask_logits.sigmoid() * scores[:, None, None]).amax(dim=0)
    saliency: Float32[np.ndarray, "height width"] = full_masks(most[None], view.geometry)[0].cpu().numpy()
    return saliency


def load_instance_model(source: str | Path, device: torch.device) -> PartMask2Former:
    """The network, ready to predict.

    Raises:
        CheckpointError: it can't be loaded, or is a part model.
    """
    network = PartMask2Former.from_pretrained(resolve(str(source)).path)
    if network.info.head != "classes":
        raise CheckpointError(
            f"{source}: expected an instance segmentation model, found a part model; for its own instance "
            "segmentation model give the folder `objects_model` in it"
        )
    return network.to(device)


def find_instances(
    network: PartMask2Former,
    image: UInt8[np.ndarray, "height width 3"],
    *,
    min_score: float,
    classes: frozenset[str] | None = None,
) -> Iterator[Instance]:
    """Mask2Former's instance inference, one instance at a time; not sorted.

    Of all pairs of a query and a class, the `TOP` most probable are taken. A mask is where its logit is
    positive; its score is the class's probability times the mean mask probability inside the mask. A query is
    given once, with its best class: an object has one class (the official inference may repeat it).
    """
    size = inference_size(image.shape[0], image.shape[1], network.info.image_size)
    view = run_network(network, image, size)
    names = network.info.class_names
    rows = [row for row, name in enumerate(names) if classes is None or name in classes]
    pairs = class_probabilities(network, view)[:, rows].flatten()
    probabilities, best = pairs.topk(min(TOP, len(pairs)))
    seen = set()
    for probability, pair in zip(probabilities.tolist(), best.tolist(), strict=True):
        query, place = divmod(pair, len(rows))
        if probability < min_score:  # as a score is lower still
            return
        if query in seen:
            continue
        seen.add(query)
        logits = full_masks(view.mask_logits[query][None], view.geometry)[0]
        mask = logits > 0
        score = probability * float(logits[mask].sigmoid().mean()) if mask.any() else 0.0
        if mask.any() and score >= min_score:
            yield Instance(mask.cpu().numpy(), names[rows[place]], score)


def inference_size(height: int, width: int, trained_at: int) -> int:
    """Longest side, in pixels, at which a network that was trained at some size is to see an image.

    Mask2Former's own for 1024, and in proportion for others.
    """
    shortest, longest = sorted((height, width))
    return max(round(trained_at * min(_LONGEST, _SHORTEST * longest / shortest)), 1)
