"""What is exported: images with their objects and parts, whether a person, a program or a model made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partdistillation.data.coco_entries import CocoImage
from partdistillation.errors import InputError
from partdistillation.functional.masks import Mask
from partdistillation.runs.progress import Countable


@dataclass(frozen=True, eq=False)
class PartLabel:
    """A region of a part; an object may have several of one name."""

    name: str
    """Within its object class: `Wheel`."""
    mask: Mask
    score: float | None = None


@dataclass(frozen=True, eq=False)
class ObjectLabel:
    category: str
    """The object class."""
    mask: Mask
    parts: tuple[PartLabel, ...] = ()
    score: float | None = None


Catalog = Mapping[str, Sequence[str | None]]
"""What may be found, whatever is: object classes in order, each with the names of its part classes in order.

None stands for a part class that is never found, such as one that is joined with another.
"""


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The objects and parts of an image. Where there are many images, masks are better encoded.

    Raises:
        InputError: a mask of another size than the image.
    """

    image: CocoImage
    """Id, file name and size."""
    objects: tuple[ObjectLabel, ...]

    def __post_init__(self) -> None:
        size = (self.image.height, self.image.width)
        for label in self.objects:
            for mask in (label.mask, *(part.mask for part in label.parts)):
                if mask.shape != size:
                    raise InputError(
                        f"expected masks of the size of image {self.image.id!r}, {size}, "
                        f"found {mask.shape} in an object of class {label.category!r}; resize it to the image"
                    )


@dataclass(frozen=True, eq=False)
class Labels:
    """The images of a run, of `predict` or a single one, as every format takes them."""

    images: Countable[ImageLabels]
    """Gone through several times; where there are many, an image in memory at a time."""
    catalog: Catalog
    """All that is in the images is in it, and more: ids are places in it, and the same in every export."""
    origin: str = ""
    """SHA-256 of what the labels were made from, where it is known."""
