"""Objects of any named class, found by Detic: the paper's own stage 1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from partdistillation.config import Device
from partdistillation.errors import CheckpointError
from partdistillation.models.devices import choose_device
from partdistillation.objects import to_object
from partdistillation.objects.detic import files
from partdistillation.objects.detic.masks import paste
from partdistillation.objects.detic.network import Detections, DeticNetwork
from partdistillation.objects.detic.text import CLIP, TextEmbedder
from partdistillation.runs.records import Object


@dataclass(frozen=True, eq=False)
class DeticObjects:
    """The ObjectSegmenter that runs Detic. It takes any class name."""

    network: DeticNetwork
    embed: Callable[[Sequence[str]], Float[Tensor, "names dim"]]
    """Class names to embeddings, a `TextEmbedder`."""
    min_score: float

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, min_score: float, device: Device = "auto", text_model: str | Path = CLIP
    ) -> "DeticObjects":
        """Load a directory that `partdistill convert detic` wrote, and a text model (hub name or directory).

        The text model must be the one that Detic was trained with, as the default is. Embeddings of class
        names are kept on disk (see `TextEmbedder`). Of `min_score`: Detic's authors count objects scored over
        0.02 when they evaluate it, and show those over 0.5.

        Raises:
            CheckpointError: either can't be loaded, or their embeddings differ in width.
        """
        place = choose_device(device)
        network = files.load(Path(source)).to(place)
        embedder = TextEmbedder.from_pretrained(text_model, device=place)
        expected = network.config.embedding_dim
        if embedder.dim != expected:
            raise CheckpointError(
                f"{text_model}: expected embeddings of {expected} values, which {source} was trained with, "
                f"found {embedder.dim}. Give the text model of its training."
            )
        return cls(network, embedder, min_score)

    @property
    def vocabulary(self) -> None:
        """Any name."""
        return None

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """The objects of each image, best first.

        Detic lets the same region be of several classes, each with its score: an object for each.
        """
        names = list(dict.fromkeys(class_names))  # twice the same would be found twice
        if not images or not names:
            return [[] for _ in images]
        detections = self.network.detect(images, self.embed(names), min_score=self.min_score)
        return [
            _objects(of_photograph, image.shape[:2], names)
            for of_photograph, image in zip(detections, images, strict=True)
        ]


def _objects(detections: Detections, size: tuple[int, int], names: Sequence[str]) -> list[Object]:
    scored = zip(detections.classes.tolist(), detections.scores.tolist(), strict=True)
    # encoded one by one: a hundred masks of a large photograph take gigabytes
    masks = paste(detections.boxes, detections.masks, *size)
    objects = [to_object(mask, names[row], score) for mask, (row, score) in zip(masks, scored, strict=True)]
    return [candidate for candidate in objects if candidate.area > 0]
