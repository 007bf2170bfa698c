"""What the server asks the process that looks at photographs, and what it hears. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from partdistillation.export.labels import Catalog
from partdistillation.functional.masks import EncodedMask
from partdistillation.studio.pieces import Click

A_co = TypeVar("A_co", covariant=True)

Kind = Literal["coco", "json", "picture", "yolo", "masks"]
"""Of a download."""

LEAST_SCORE, LEAST_SHARE = 0.05, 0.005
"""What is computed; the page shows less of it without asking again."""


class Question(Generic[A_co]):
    """Something whose answer is an `A_co`."""


@dataclass(frozen=True)
class SeenPart:
    part: int
    name: str
    score: float
    mask: EncodedMask
    area: int
    """In pixels."""
    path: str
    """Its border, as in SVG."""


@dataclass(frozen=True)
class SeenObject:
    category: str
    score: float
    mask: EncodedMask
    area: int
    path: str
    parts: tuple[SeenPart, ...]


@dataclass(frozen=True)
class Upload:
    """A photograph as it came."""

    id: str
    name: str
    data: bytes


@dataclass(frozen=True)
class Known:
    catalog: Catalog
    finds: bool
    """Whether anything finds objects."""


@dataclass(frozen=True)
class Know(Question[Known]):
    """A model: what does it know? Then it is ready."""

    model: Path


@dataclass(frozen=True)
class Seen:
    width: int
    height: int
    picture: bytes
    """WebP, for the page."""
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True)
class Look(Question[Seen]):
    """What is on a photograph?"""

    model: Path
    upload: Upload


@dataclass(frozen=True)
class Correct(Question[SeenObject]):
    """An object as clicks want it, with its parts."""

    model: Path
    upload: Upload
    mask: EncodedMask | None
    """None: there is none yet, the clicks make it."""
    category: str | None
    """None: the class whose parts fit best."""
    clicks: Sequence[Click]
    clicks_model: str = ""
    """SAM or SAM 2, which is asked what clicks mean; without it pieces of what stands out are."""


@dataclass(frozen=True)
class Labelled:
    """A photograph with what of it is to be written."""

    upload: Upload
    width: int
    height: int
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True)
class Pack(Question[bytes]):
    """A file to take away."""

    kind: Kind
    photographs: Sequence[Labelled]
    catalog: Catalog
