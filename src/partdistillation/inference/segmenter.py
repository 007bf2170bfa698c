"""From one image, and maybe its objects, to their parts."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from partdistillation.config import Device
from partdistillation.data.images import load_image, load_image_of
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.functional.masks import decode, decoded, encode, union
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, run_network, segment_parts
from partdistillation.models.sources import resolve
from partdistillation.objects.mask2former import Instance, find_instances, load_instance_model
from partdistillation.runs import terminal
from partdistillation.runs.part_table import FILE, PartTable, read_part_table
from partdistillation.runs.records import ObjectParts, ObjectRow, Part, PartRow
from partdistillation.settings import at_home
from partdistillation.stages.distillation import OBJECTS_MODEL

MIN_RATIO, MIN_SCORE = 0.05, 0.3
"""A part's least share of its object's area, and least score (tau_r, tau_s)."""
MAX_OBJECTS, MIN_OBJECT_SCORE = 10, 0.3
"""Of objects that the model finds itself: the most an image, and the least score."""

Photo = str | Path | Image.Image | UInt8[np.ndarray, "height width 3"]

_log = terminal.logger(__name__)


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """An object whose parts are wanted."""

    mask: Bool[np.ndarray, "height width"]
    category: str
    score: float = 1.0


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
        objects_model: str | Path | None = None,
        device: Device = "auto",
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: str | Path | PartTable | None = None,
    ) -> "PartSegmenter":
        """Load a part model's folder, or a published one by its name.

        `objects_model` is the instance segmentation model, for images whose objects aren't given: by default
        the folder `objects_model` in the part model's. `part_table` is one, or its file: by default the file
        `part_table.json` in that folder, if it is there.

        Raises:
            CheckpointError: it can't be loaded, or isn't a part model.
            ConfigError: there is no such device.
            InputError: the part table can't be used with this model.
        """
        network = PartMask2Former.from_pretrained(resolve(str(source)).path).to(choose_device(device))
        if part_table is None:
            part_table = _part_table_of(source)
        elif not isinstance(part_table, PartTable):
            part_table = read_part_table(Path(part_table))
        return cls(network, objects_model or objects_model_of(source), part_names, part_table)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def class_names(self) -> tuple[str, ...]:
        """The object classes whose parts the model knows."""
        return self.network.info.class_names

    def __call__(
        self,
        image: Photo,
        objects: Sequence[ObjectMask | FoundObject] | None = None,
        *,
        min_ratio: float = MIN_RATIO,
        min_score: float = MIN_SCORE,
        max_objects: int = MAX_OBJECTS,
        min_object_score: float = MIN_OBJECT_SCORE,
    ) -> Result:
        """The parts of the given objects, or else of those that the instance segmentation model finds.

        The network runs once, however many objects there are. An object of a class that the model doesn't
        know has no parts, which the log says.

        Args:
            image: a file, a Pillow image, or an array of RGB values.
            objects: masks of the image's size, with classes.
            min_ratio: least share of the object's area, for a part to be kept.
            min_score: least score, for a part to be kept.
            max_objects: the most objects that are looked for, best first. Only where none are given.
            min_object_score: their least score.

        Raises:
            InputError: an image that can't be read, or a mask that is empty or of another size.
            ConfigError: no objects are given, and there is no instance segmentation model to find them.
        """
        pixels, name = _pixels(image)
        if objects is None:
            objects = self._find(pixels, max_objects, min_object_score)
        known = any(mask.category in self._classes for mask in objects)
        view = run_network(self.network, pixels, self.network.info.image_size) if known else None
        segmented = (
            FoundObject(mask.category, mask.score, mask.mask, self._parts(view, mask, min_ratio, min_score))
            for mask in objects
        )
        return Result(pixels, tuple(segmented), name)

    @cached_property
    def objects_network(self) -> PartMask2Former:
        """The instance segmentation model.

        Raises:
            ConfigError: there is none, or it knows none of the part model's classes.
            CheckpointError: it can't be loaded.
        """
        model = self._objects_model
        if model is None:
            raise ConfigError(
                "expected objects (masks with classes), or an instance segmentation model to find them; "
                f"found neither: give objects or objects_model, or a part model's folder with {OBJECTS_MODEL}"
            )
        network = model if isinstance(model, PartMask2Former) else load_instance_model(model, self.device)
        if not set(network.info.class_names) & set(self.class_names):
            raise ConfigError(
                f"expected an instance segmentation model of some of {_listed(self.class_names)}; found one "
                f"of {_listed(network.info.class_names)}: give another, or the objects themselves"
            )
        return network

    def _find(
        self, image: UInt8[np.ndarray, "height width 3"], max_objects: int, min_score: float
    ) -> list[ObjectMask]:
        """The best objects of classes whose parts are known."""
        instances = find_instances(
            self.objects_network, image, min_score=min_score, classes=frozenset(self.class_names)
        )
        best = heapq.nlargest(max_objects, instances, key=_score_and_area)
        return [ObjectMask(*instance) for instance in best]

    def _parts(
        self, view: View | None, mask: ObjectMask | FoundObject, min_ratio: float, min_score: float
    ) -> tuple[FoundPart, ...]:
        if view is None or mask.category not in self._classes:
            self._say_unknown(mask.category)
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

    def part_name(self, category: str, part: int) -> str:
        """What a part class is called."""
        names = self._part_names.get(category, ())
        if part in self.part_table.of(category).names or part >= len(names):
            return self.part_table.name(category, part)
        return names[part]

    def _say_unknown(self, category: str) -> None:
        if category not in self._missed:
            self._missed.add(category)
            _log.warning("%s: it has no parts here", _unknown(category, self.class_names))


def part_row(
    segmenter: PartSegmenter,
    row: ObjectRow,
    images_dir: Path,
    *,
    min_ratio: float = MIN_RATIO,
    min_score: float = MIN_SCORE,
) -> PartRow:
    """The parts of one image's objects, as the part model sees them.

    A part's `probability` is its score. Raises InputError where the image can't be read any more, or has
    another size.
    """
    masks = [
        ObjectMask(decode(instance.rle, row.height, row.width), instance.category, instance.score)
        for instance in row.objects
    ]
    pixels = load_image_of(images_dir / row.file_name, row.height, row.width)
    result = segmenter(pixels, masks, min_ratio=min_ratio, min_score=min_score)
    unknown = sorted({mask.category for mask in masks} - set(segmenter.class_names))
    reasons = [row.reason, *(_unknown(category, segmenter.class_names) for category in unknown)]
    labelled = (
        ObjectParts(instance.object_id, instance.category, tuple(map(_record, segmented.parts)))
        for instance, segmented in zip(row.objects, result.objects, strict=True)
    )
    return replace(row.to(PartRow, labelled), reason="; ".join(filter(None, reasons)))


def objects_model_of(part_model: str | Path) -> Path | None:
    """The instance segmentation model in a part model's folder, if there is one."""
    path = resolve(str(part_model)).path
    folder = Path(path) / OBJECTS_MODEL
    return folder if isinstance(path, Path) and folder.is_dir() else None


def _part_table_of(part_model: str | Path) -> PartTable:
    """The table in a part model's folder; an empty one, if there is none."""
    path = resolve(str(part_model)).path
    file = Path(path) / FILE
    return read_part_table(file) if isinstance(path, Path) and file.is_file() else PartTable()


def _score_and_area(instance: Instance) -> tuple[float, int]:
    return instance.score, int(np.count_nonzero(instance.mask))


def _record(part: FoundPart) -> Part:
    return Part(part.part, part.score, part.score, int(np.count_nonzero(part.mask)), encode(part.mask))


def _pixels(image: Photo) -> tuple[UInt8[np.ndarray, "height width 3"], str]:
    """The image, and its file's name if it has one."""
    if isinstance(image, str | Path):
        return load_image(at_home(Path(image))), Path(image).name
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise InputError(
                f"Expected an image of 8 bits a channel, found Pillow mode {image.mode}; give the file itself"
            )
        return np.array(ImageOps.exif_transpose(image).convert("RGB")), ""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"Expected an RGB image as uint8 (height, width, 3), found {image.dtype} {image.shape}"
        )
    return image, ""


def _unknown(category: str, known: Sequence[str]) -> str:
    return f"the part model has no class {category!r} (it has {_listed(known)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
