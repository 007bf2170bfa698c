"""Shards: the lists of about 256 inputs that are labelled, committed and redone as one."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from partdistillation.errors import StoreError

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_CLASS = 60


@runtime_checkable
class Input(Protocol):
    """What a stage labels: a frozen dataclass of JSON values and paths.

    The stage's fingerprint covers all of it but the paths, so that a data set may be moved.
    """

    @property
    def image_id(self) -> str: ...


In = TypeVar("In", bound=Input)
In_co = TypeVar("In_co", bound=Input, covariant=True)


@dataclass(frozen=True)
class ImageRef:
    """The input of a stage that reads an earlier one's rows."""

    image_id: str


@dataclass(frozen=True)
class Shard(Generic[In_co]):
    """Inputs that are labelled together. The name is the file's, without `.parquet`."""

    name: str
    inputs: tuple[In_co, ...]

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.name):
            raise StoreError(f"expected a shard name of letters, digits and ._-, found {self.name!r}")
        if not self.inputs:
            raise StoreError(f"expected at least one input in shard {self.name!r}, found none")

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.parquet"


def make_shards(
    inputs: Sequence[In], *, size: int = 256, by: Callable[[In], str] | None = None
) -> list[Shard[In]]:
    """Cut inputs into shards of at most `size`, in order; with `by`, no shard holds two classes.

    Raises:
        StoreError: no inputs, or two inputs with the same image id.
    """
    _check_unique(inputs)
    classes: dict[str, list[In]] = {}
    for item in inputs:
        classes.setdefault(by(item) if by else "images", []).append(item)
    return [
        Shard(f"{file_name(name)}-{number:05d}", part)
        for name in sorted(classes)
        for number, part in enumerate(_cut(classes[name], size))
    ]


def shard_size(images: int) -> int:
    """256 images; fewer where there are few, so that workers share them and progress can be seen."""
    return min(256, max(1, images // 32))


def shards_of(images: int) -> int:
    """How many shards so many images make, if they aren't divided by class besides."""
    return -(-images // shard_size(images))


def _cut(items: Sequence[In], size: int) -> Iterator[tuple[In, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


def _check_unique(inputs: Sequence[Input]) -> None:
    if not inputs:
        raise StoreError("expected at least one image, found none: check the folder or annotation file")
    counts = Counter(item.image_id for item in inputs)
    image_id, count = counts.most_common(1)[0]
    if count > 1:
        raise StoreError(
            f"expected a different image id for every input, found {image_id!r} {count} times: "
            "remove or rename the duplicates"
        )


def file_name(name: str) -> str:
    """A class name as a file name that no other class shares, on disks that ignore case either."""
    safe = re.sub(r"[^a-z0-9._-]", "_", name.lower())[:_LONGEST_CLASS]
    if safe == name and _SAFE_NAME.fullmatch(safe):
        return safe
    return f"{safe.lstrip('._-') or 'class'}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"
