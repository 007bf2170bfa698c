"""From one image, and maybe its objects, to their parts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from partdistillation.config import Device
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.inference.base import MIN_OBJECT_SCORE, BasePartSegmenter, LabelledMask, listed
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, run_network, segment_parts
from partdistillation.models.sources import folder_of
from partdistillation.objects import OBJECTS_MODEL, ObjectSegmenter
from partdistillation.objects.mask2former import Mask2FormerObjects
from partdistillation.objects.object_features import object_feature
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.objects.salient_classes import NamedSalientObjects
from partdistillation.runs.part_table import FILE, PartTable, read_part_table


class PartSegmenter(BasePartSegmenter[View]):
    """Finds the parts of objects in images.

    Examples:
        >>> segmenter = PartSegmenter.from_pretrained("out/part_model")
        >>> segmenter("photo.jpg").save("parts.png")
    """

    def __init__(
        self,
        network: PartMask2Former,
        objects_model: str | Path | PartMask2Former | None = None,
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: PartTable | None = None,
    ) -> None:
        """Wrap a part model.

        Args:
            network: the part model, on the device where it is to run.
            objects_model: the instance segmentation model, or where it is; loaded when it is first needed.
            part_names: what to call the part classes 0, 1, ... of an object class, instead of "part 0".
            part_table: which part classes are joined, left out and how they are called; its names come first.

        Raises:
            CheckpointError: the network has no part classes.
            InputError: the table is about part classes that the network doesn't have.
        """
        if network.info.head != "parts":
            raise CheckpointError(
                "expected a part model (as in OUT/part_model), found a model of "
                f"{len(network.info.class_names)} classes without parts"
            )
        super().__init__(network.info.class_names, network.info.num_parts, part_names, part_table)
        self.network = network
        self._objects_model = objects_model

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        objects_model: str | Path | None = None,
        device: Device = "auto",
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: str | Path | PartTable | None = None,
    ) -> "PartSegmenter":
        """Load a part model's folder, or a published one by its name, with all that is in its folder.

        Args:
            source: a part model's folder (`OUT/part_model`), or a published one's name.
            revision: a branch, a tag or a commit hash of a published one; by default the newest commit.
            objects_model: the instance segmentation model, for images whose objects aren't given: by default
                the folder `objects_model` in the part model's; loaded when first needed.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            part_names: names of part classes by object class, in their order; by default "part 0", "part 1".
            part_table: joins part classes, leaves some out and names them; one, or its file: by default the
                file `part_table.json` in the part model's folder, if it is there.

        Raises:
            CheckpointError: it can't be loaded, or isn't a part model.
            ConfigError: there is no such device, or a folder is to have a revision.
            InputError: the part table can't be used with this model.
        """
        place = choose_device(device)
        folder = folder_of(source, revision)
        network = PartMask2Former.from_pretrained(folder).to(place)
        if part_table is None:
            part_table = _part_table_in(folder)
        elif not isinstance(part_table, PartTable):
            part_table = read_part_table(Path(part_table))
        return cls(network, objects_model or objects_model_in(folder), part_names, part_table)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _look(self, image: UInt8[np.ndarray, "height width 3"]) -> View:
        return run_network(self.network, image, self.network.info.image_size)

    def _labelled(
        self,
        view: View,
        mask: Bool[np.ndarray, "height width"],
        object_class: int,
        min_ratio: float,
        min_score: float,
    ) -> Iterable[LabelledMask]:
        parts = segment_parts(
            self.network, view, mask, object_class, min_ratio=min_ratio, min_score=min_score
        )
        return zip(parts.labels.tolist(), parts.scores.tolist(), parts.masks.numpy(), strict=True)

    @cached_property
    def objects_finder(self) -> ObjectSegmenter:
        """What finds the objects: an instance segmentation model, or what stands out in a photograph.

        Raises:
            ConfigError: there is none, or it knows none of the part model's classes.
            CheckpointError: it can't be loaded.
        """
        model = self._objects_model
        if model is None:
            raise ConfigError(
                "expected objects (masks with classes), or an instance segmentation model to find them; "
                "found neither: give objects or objects_model (--objects, --objects-model of `partdistill "
                f"predict`), or a part model's folder with {OBJECTS_MODEL}"
            )
        finder: Mask2FormerObjects | NamedSalientObjects
        device = str(self.device)
        if isinstance(model, PartMask2Former):
            finder = Mask2FormerObjects(model, MIN_OBJECT_SCORE)
        elif (Path(model) / MEANS).is_file():
            finder = NamedSalientObjects.from_pretrained(
                Path(model), partial(object_feature, self.network), device
            )
        else:
            finder = Mask2FormerObjects.from_pretrained(model, min_score=MIN_OBJECT_SCORE, device=device)
        if not set(finder.vocabulary) & set(self.class_names):
            raise ConfigError(
                f"expected an instance segmentation model of some of {listed(self.class_names)}; found one "
                f"of {listed(finder.vocabulary)}: give another (objects_model, or --objects-model of "
                "`partdistill predict`), or the objects themselves (objects, --objects)"
            )
        return finder

    def finder_of(self, min_score: float) -> ObjectSegmenter:
        """`objects_finder`, for objects from this score on: a lower one than it has by itself, too."""
        finder = self.objects_finder
        return replace(finder, min_score=min_score) if isinstance(finder, Mask2FormerObjects) else finder


def objects_model_in(folder: Path) -> Path | None:
    """The instance segmentation model in a part model's folder, if there is one."""
    return folder / OBJECTS_MODEL if (folder / OBJECTS_MODEL).is_dir() else None


def _part_table_in(folder: Path) -> PartTable:
    """The table in a part model's folder; an empty one, if there is none."""
    return read_part_table(folder / FILE) if (folder / FILE).is_file() else PartTable()
