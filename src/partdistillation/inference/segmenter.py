"""From one image, and maybe its objects, to their parts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8

from partdistillation.config import Device
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.export.labels import Catalog
from partdistillation.functional.masks import decode, decoded, union
from partdistillation.inference.inputs import (
    ObjectLike,
    Photo,
    are_several,
    instances_of,
    per_photograph,
    photograph,
)
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, run_network, segment_parts
from partdistillation.models.sources import folder_of
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.labelling import SAME, best, distinct
from partdistillation.objects.mask2former import Instance, Mask2FormerObjects
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.objects.salient_classes import NamedSalientObjects
from partdistillation.runs import terminal
from partdistillation.runs.part_table import FILE, PartTable, read_part_table
from partdistillation.stages.distillation import OBJECTS_MODEL

MIN_RATIO, MIN_SCORE = 0.05, 0.3
"""A part's least share of its object's area, and least score (tau_r, tau_s)."""
MAX_OBJECTS, MIN_OBJECT_SCORE = 10, 0.3
"""Of objects that the model finds itself: the most an image, and the least score."""
MAX_OVERLAP = SAME
"""And the largest IoU with a better one's mask: more shows the same object again."""

_log = terminal.logger(__name__)


class PartSegmenter:
    """Finds the parts of objects in images.

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
        self.network = network
        self._classes = {name: index for index, name in enumerate(network.info.class_names)}
        self._objects_model = objects_model
        self._part_names = part_names or {}
        self.part_table = part_table or PartTable()
        self.part_table.check(network.info.num_parts)
        self._missed: set[str] = set()

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

        `revision` is a branch, a tag or a commit hash of a published one; by default the newest commit.

        Args:
            source: a part model's folder (`OUT/part_model`), or a published one's name.
            objects_model: the instance segmentation model, for images whose objects aren't given: by default
                the folder `objects_model` in the part model's; loaded when first needed.
            device: "auto", "cpu" or "cuda".
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

    @property
    def class_names(self) -> tuple[str, ...]:
        """The object classes whose parts the model knows."""
        return self.network.info.class_names

    @overload
    def __call__(  # type: ignore[overload-overlap]  # text is a path first
        self,
        image: Photo,
        objects: Iterable[ObjectLike] | None = None,
        *,
        min_ratio: float = MIN_RATIO,
        min_score: float = MIN_SCORE,
        max_objects: int = MAX_OBJECTS,
        min_object_score: float = MIN_OBJECT_SCORE,
        max_overlap: float = MAX_OVERLAP,
    ) -> Result: ...

    @overload
    def __call__(
        self,
        image: Sequence[Photo],
        objects: Sequence[Iterable[ObjectLike] | None] | None = None,
        *,
        min_ratio: float = MIN_RATIO,
        min_score: float = MIN_SCORE,
        max_objects: int = MAX_OBJECTS,
        min_object_score: float = MIN_OBJECT_SCORE,
        max_overlap: float = MAX_OVERLAP,
    ) -> list[Result]: ...

    def __call__(
        self,
        image: Photo | Sequence[Photo],
        objects: Iterable[ObjectLike] | Sequence[Iterable[ObjectLike] | None] | None = None,
        *,
        min_ratio: float = MIN_RATIO,
        min_score: float = MIN_SCORE,
        max_objects: int = MAX_OBJECTS,
        min_object_score: float = MIN_OBJECT_SCORE,
        max_overlap: float = MAX_OVERLAP,
    ) -> Result | list[Result]:
        """The parts of the given objects, or else of those that the instance segmentation model finds.

        The network runs once an image, however many objects there are. An object of a class that the model
        doesn't know has no parts, which the log says once. Several images give a list of results.

        Args:
            image: a path, an opened file, a file's bytes, a Pillow image (turned upright by its EXIF data),
                or uint8 values in an array or tensor, grey, RGB or RGBA, channels last; or several. All give
                the pixels that the file has.
            objects: masks of the image's size, with classes: any iterable of `ObjectMask`, of objects found
                before, or of pairs (mask, "car") or (mask, "car", 0.9). Of several images, a list of such.
            min_ratio: least share of the object's area, for a part to be kept.
            min_score: least score, for a part to be kept.
            max_objects: the most objects that are looked for, best first. Only where none are given.
            min_object_score: their least score.
            max_overlap: the largest IoU of their masks, whatever their classes: of two that overlap more, the
                better is kept. 1 keeps all.

        Raises:
            InputError: an image that can't be read, or a mask that is empty, of another size or ambiguous.
            ConfigError: no objects are given, and there is no instance segmentation model to find them, or it
                knows none of the classes.
            CheckpointError: that model can't be loaded.
        """
        if not are_several(image):
            pixels, name = photograph(image)
            instances = (
                self._find(pixels, max_objects, min_object_score, max_overlap)
                if objects is None
                else instances_of(objects, *pixels.shape[:2])
            )
            return self._segmented(pixels, name, instances, min_ratio, min_score)
        photographs = list(image)
        return [
            self(
                single,
                wanted,
                min_ratio=min_ratio,
                min_score=min_score,
                max_objects=max_objects,
                min_object_score=min_object_score,
                max_overlap=max_overlap,
            )
            for single, wanted in zip(photographs, per_photograph(objects, len(photographs)), strict=True)
        ]

    def _segmented(
        self,
        pixels: UInt8[np.ndarray, "height width 3"],
        name: str,
        instances: Sequence[Instance],
        min_ratio: float,
        min_score: float,
    ) -> Result:
        known = any(instance.category in self._classes for instance in instances)
        view = run_network(self.network, pixels, self.network.info.image_size) if known else None
        segmented = (
            FoundObject(
                instance.category,
                instance.score,
                instance.mask,
                self._parts(view, instance, min_ratio, min_score),
            )
            for instance in instances
        )
        return Result(pixels, tuple(segmented), name, self.catalog)

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
        device: Device = "cpu" if self.device.type == "cpu" else "cuda"
        if isinstance(model, PartMask2Former):
            finder = Mask2FormerObjects(model, MIN_OBJECT_SCORE)
        elif (Path(model) / MEANS).is_file():
            finder = NamedSalientObjects.from_pretrained(Path(model), self.network, device)
        else:
            finder = Mask2FormerObjects.from_pretrained(model, min_score=MIN_OBJECT_SCORE, device=device)
        if not set(finder.vocabulary) & set(self.class_names):
            raise ConfigError(
                f"expected an instance segmentation model of some of {_listed(self.class_names)}; found one "
                f"of {_listed(finder.vocabulary)}: give another (objects_model, or --objects-model of "
                "`partdistill predict`), or the objects themselves (objects, --objects)"
            )
        return finder

    def finder_of(self, min_score: float) -> ObjectSegmenter:
        """`objects_finder`, for objects from this score on: a lower one than it has by itself, too."""
        finder = self.objects_finder
        return replace(finder, min_score=min_score) if isinstance(finder, Mask2FormerObjects) else finder

    def _find(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        max_objects: int,
        min_score: float,
        max_overlap: float,
    ) -> list[Instance]:
        """The best objects of classes whose parts are known, each once."""
        height, width = image.shape[:2]
        finder = self.finder_of(min_score)
        known = [name for name in self.class_names if name in (finder.vocabulary or ())]
        candidates = [candidate for candidate in finder([image], known)[0] if candidate.score >= min_score]
        different = distinct(candidates, height, width, max_overlap=max_overlap)
        kept, _ = best(different, pixels=height * width, max_objects=max_objects, min_area=0)
        return [
            Instance(decode(instance.rle, height, width), instance.category, instance.score)
            for instance in kept
        ]

    def _parts(
        self, view: View | None, mask: Instance, min_ratio: float, min_score: float
    ) -> tuple[FoundPart, ...]:
        if view is None or mask.category not in self._classes:
            self._sayunknown_class(mask.category)
            return ()
        parts = segment_parts(
            self.network,
            view,
            mask.mask,
            self._classes[mask.category],
            min_ratio=min_ratio,
            min_score=min_score,
        )
        labelled = zip(parts.labels.tolist(), parts.scores.tolist(), parts.masks.numpy(), strict=True)
        groups = self.part_table.grouped(mask.category, labelled, lambda part: int(part[0]))
        return tuple(
            FoundPart(
                part,
                self.part_name(mask.category, part),
                max(score for _, score, _ in group),
                decoded(union([region for _, _, region in group])),
            )
            for part, group in groups
        )

    @property
    def catalog(self) -> Catalog:
        """The object classes, and what their part classes are called: None if joined or left out."""
        parts = range(self.network.info.num_parts)
        return {
            category: [
                self.part_name(category, part) if self.part_table.of(category).becomes(part) == part else None
                for part in parts
            ]
            for category in self.class_names
        }

    def part_name(self, category: str, part: int) -> str:
        """What a part class is called."""
        names = self._part_names.get(category, ())
        if part in self.part_table.of(category).names or part >= len(names):
            return self.part_table.name(category, part)
        return names[part]

    def _sayunknown_class(self, category: str) -> None:
        if category not in self._missed:
            self._missed.add(category)
            _log.warning("%s: it has no parts here", unknown_class(category, self.class_names))


def objects_model_in(folder: Path) -> Path | None:
    """The instance segmentation model in a part model's folder, if there is one."""
    return folder / OBJECTS_MODEL if (folder / OBJECTS_MODEL).is_dir() else None


def _part_table_in(folder: Path) -> PartTable:
    """The table in a part model's folder; an empty one, if there is none."""
    return read_part_table(folder / FILE) if (folder / FILE).is_file() else PartTable()


def unknown_class(category: str, known: Sequence[str]) -> str:
    """What is said of an object whose parts the model doesn't know."""
    return f"the part model has no class {category!r} (it has {_listed(known)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
