"""What every part model does with an image and its objects, wherever its network runs. No torch here."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
from jaxtyping import Bool, UInt8

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
from partdistillation.objects import Instance, ObjectSegmenter
from partdistillation.objects.labelling import SAME, best, distinct
from partdistillation.runs import terminal
from partdistillation.runs.part_table import PartTable

MIN_RATIO, MIN_SCORE = 0.05, 0.3
"""A part's least share of its object's area, and least score (tau_r, tau_s)."""
MAX_OBJECTS, MIN_OBJECT_SCORE = 10, 0.3
"""Of objects that the model finds itself: the most an image, and the least score."""
MAX_OVERLAP = SAME
"""And the largest IoU with a better one's mask: more shows the same object again."""

_log = terminal.logger(__name__)


ViewT = TypeVar("ViewT")
"""What a network says of one image."""

LabelledMask = tuple[int, float, Bool[np.ndarray, "height width"]]
"""Part class, score, mask."""


class BasePartSegmenter(ABC, Generic[ViewT]):
    """A part model that is called with images; how its network runs is what classes of it say."""

    def __init__(
        self,
        class_names: Sequence[str],
        num_parts: int,
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: PartTable | None = None,
    ) -> None:
        """Keep the names.

        Raises:
            InputError: the table is about part classes that the model doesn't have.
        """
        self._class_names = tuple(class_names)
        self.num_parts = num_parts
        self._classes = {name: index for index, name in enumerate(class_names)}
        self._part_names = part_names or {}
        self.part_table = part_table or PartTable()
        self.part_table.check(num_parts)
        self._missed: set[str] = set()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The object classes whose parts the model knows."""
        return self._class_names

    @abstractmethod
    def _look(self, image: UInt8[np.ndarray, "height width 3"]) -> ViewT:
        """Run the network."""

    @abstractmethod
    def _labelled(
        self,
        view: ViewT,
        mask: Bool[np.ndarray, "height width"],
        object_class: int,
        min_ratio: float,
        min_score: float,
    ) -> Iterable[LabelledMask]:
        """The parts of an object, before the part table."""

    @property
    @abstractmethod
    def objects_finder(self) -> ObjectSegmenter:
        """What finds the objects, where none are given."""

    def finder_of(self, min_score: float) -> ObjectSegmenter:  # noqa: ARG002
        """`objects_finder`, for objects from this score on: a lower one than it has by itself, too."""
        return self.objects_finder

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
        view = self._look(pixels) if known else None
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
        self, view: ViewT | None, mask: Instance, min_ratio: float, min_score: float
    ) -> tuple[FoundPart, ...]:
        if view is None or mask.category not in self._classes:
            self._say_unknown(mask.category)
            return ()
        labelled = self._labelled(view, mask.mask, self._classes[mask.category], min_ratio, min_score)
        groups = self.part_table.grouped(mask.category, labelled, lambda part: part[0])
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
        parts = range(self.num_parts)
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

    def _say_unknown(self, category: str) -> None:
        if category not in self._missed:
            self._missed.add(category)
            _log.warning("%s: it has no parts here", unknown_class(category, self.class_names))


def unknown_class(category: str, known: Sequence[str]) -> str:
    """What is said of an object whose parts the model doesn't know."""
    return f"the part model has no class {category!r} (it has {listed(known)})"


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
