"""What a part model finds in one image: objects with their parts; as a picture, as COCO, as JSON."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

from partdistillation.data.coco import CocoImage
from partdistillation.errors import InputError
from partdistillation.export import cvat, label_maps, label_studio, yolo
from partdistillation.export.categories import CategoryIds
from partdistillation.export.coco import Document, document
from partdistillation.export.labels import Catalog, ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import box, encode
from partdistillation.pictures.colors import color_of
from partdistillation.pictures.legends import LegendRow, with_legend
from partdistillation.pictures.overlays import outline, overlay
from partdistillation.pictures.sizes import enlarge, enlarge_labels
from partdistillation.pictures.text import name_tags
from partdistillation.runs.atomic import replace_file
from partdistillation.settings import at_home

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_SHORTER_SIDE = 480
"""Smaller images are enlarged to this before anything is drawn on them."""


@dataclass(frozen=True, eq=False)
class FoundPart:
    """A part: `part` is its part class within the object's class, `name` what to call it ("part 3").

    Part classes are 0 to K - 1. Parts of an object don't overlap, and there is at most one a part class.
    """

    part: int
    name: str
    score: float
    mask: Bool[np.ndarray, "height width"]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """xyxy, in pixels."""
        return box(self.mask)


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object and its parts."""

    category: str
    score: float
    mask: Bool[np.ndarray, "height width"]
    parts: tuple[FoundPart, ...] = ()

    @property
    def box(self) -> tuple[float, float, float, float]:
        """xyxy, in pixels."""
        return box(self.mask)


@dataclass(frozen=True, eq=False)
class Result:
    """The objects and parts of one image.

    Raises:
        InputError: a mask of another size than the image.

    """

    image: UInt8[np.ndarray, "height width 3"]
    objects: tuple[FoundObject, ...]
    file_name: str = ""
    catalog: Catalog = field(default_factory=dict)
    """The model's object and part classes: category ids in `to_coco` are places in it."""

    def __post_init__(self) -> None:
        for instance in self.objects:
            for mask in (instance.mask, *(part.mask for part in instance.parts)):
                if mask.shape != self.image.shape[:2]:
                    raise InputError(
                        f"Expected masks of the image's size {self.image.shape[:2]}, found {mask.shape} in "
                        f"an object of class {instance.category!r}; resize it to the image."
                    )

    @property
    def height(self) -> int:
        return len(self.image)

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    def plot(self, path: str | Path | None = None) -> Image.Image:
        """A picture: parts in their classes' colours, objects outlined and named, a legend below.

        Args:
            path: where to write the picture too (.png, .jpg, .webp), if given.

        """
        canvas = overlay(enlarge(self.image, _SHORTER_SIDE), enlarge_labels(self._part_map(), _SHORTER_SIDE))
        canvas = outline(canvas, enlarge_labels(self._object_map(), _SHORTER_SIDE), width=3)
        scale = len(canvas) / self.height
        tags = [
            (f"{instance.category} {instance.score:.2f}", scale * instance.box[0], scale * instance.box[1])
            for instance in self.objects
        ]
        picture = with_legend(name_tags(canvas, tags), self._legend())
        if path is not None:
            path = _checked(Path(path), _PICTURES)
            replace_file(path, _encoded(picture, path.suffix))
        return picture

    def save(self, path: str | Path) -> Path:
        """Write a picture (.png, .jpg, .webp) or everything as text (.json).

        Raises:
            InputError: another suffix, or a folder that isn't there.

        """
        path = _checked(Path(path), (*_PICTURES, ".json"))
        if path.suffix.lower() == ".json":
            replace_file(path, f"{self.to_json()}\n".encode())
        else:
            self.plot(path)
        return path

    def to_coco(self) -> Document:
        """Objects and parts as annotations of one COCO document, with scores.

        Part categories are named "car part 3" with the supercategory "car"; a part's `object_id` is the `id`
        of its object's annotation. Categories and their ids are the model's (`catalog`), whatever was found:
        its object classes 1 to N in their order, then K part classes of each (one that a part table joins or
        leaves out is missing, and its id unused); classes of given objects that the model doesn't know come
        last.
        """
        return document([self._labels()], self.catalog)

    def to_yolo(self) -> str:
        """The lines of YOLO's segmentation format: objects and parts, numbered as in `to_coco` less one."""
        return "".join(f"{line}\n" for line in yolo.lines_of(self._labels(), self._category_ids()))

    def to_label_studio(self) -> dict[str, object]:
        """A task of Label Studio, with objects and parts as a prediction."""
        return label_studio.task(self._labels())

    def to_cvat(self) -> dict[str, object]:
        """A document of Datumaro, as CVAT imports it."""
        return cvat.document(self._labels(), self._category_ids())

    def to_masks(self) -> tuple[Int[np.ndarray, "height width"], Int[np.ndarray, "height width"]]:
        """Label maps of the objects and of the parts, with the category ids of `to_coco`; 0 elsewhere."""
        return label_maps.maps(self._labels(), self._category_ids())

    def to_json(self) -> str:
        """Objects with their parts: boxes xyxy, masks as COCO's compressed run-length encoding."""
        objects = [
            {
                "category": instance.category,
                "score": float(instance.score),
                "box": instance.box,
                "mask": self._rle(instance.mask),
                "parts": [
                    {
                        "part": part.part,
                        "name": part.name,
                        "score": float(part.score),
                        "box": part.box,
                        "mask": self._rle(part.mask),
                    }
                    for part in instance.parts
                ],
            }
            for instance in self.objects
        ]
        content = {
            "file_name": self.file_name,
            "width": self.width,
            "height": self.height,
            "objects": objects,
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False)

    def _labels(self) -> ImageLabels:
        """What formats are made from."""
        objects = (
            ObjectLabel(
                instance.category,
                instance.mask,
                tuple(PartLabel(part.name, part.mask, part.score) for part in instance.parts),
                instance.score,
            )
            for instance in self.objects
        )
        return ImageLabels(CocoImage(1, self.file_name, self.width, self.height), tuple(objects))

    def _category_ids(self) -> CategoryIds:
        return CategoryIds.together([self._labels()], self.catalog)

    def _rle(self, mask: Bool[np.ndarray, "height width"]) -> dict[str, object]:
        return {"size": [self.height, self.width], "counts": encode(mask).decode("ascii")}

    def _object_map(self) -> Int[np.ndarray, "height width"]:
        labels = np.zeros((self.height, self.width), dtype=np.int32)
        for number, instance in enumerate(self.objects, start=1):
            labels[instance.mask] = number
        return labels

    def _part_map(self) -> Int[np.ndarray, "height width"]:
        """Part classes + 1; where parts overlap, the higher score is seen."""
        labels = np.zeros((self.height, self.width), dtype=np.int32)
        parts = (part for instance in self.objects for part in instance.parts)
        for part in sorted(parts, key=lambda part: part.score):
            labels[part.mask] = part.part + 1
        return labels

    def _legend(self) -> list[LegendRow]:
        rows = []
        for category in sorted({instance.category for instance in self.objects}):
            names = {
                part.part: part.name
                for instance in self.objects
                if instance.category == category
                for part in instance.parts
            }
            entries = tuple((name, color_of(part)) for part, name in sorted(names.items()))
            rows.append(LegendRow(category, entries))
        return rows


def _encoded(picture: Image.Image, suffix: str) -> bytes:
    """A picture's file, of the kind that a suffix says."""
    buffer = io.BytesIO()
    picture.save(buffer, Image.registered_extensions()[suffix.lower()])
    return buffer.getvalue()


def _checked(path: Path, suffixes: tuple[str, ...]) -> Path:
    path = at_home(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"Expected a file ending in {', '.join(suffixes)}, found {path.name!r}; rename it.")
    if not path.parent.is_dir():
        raise InputError(
            f"Expected a folder {path.parent} to write {path.name} to, found none; make it first."
        )
    return path
