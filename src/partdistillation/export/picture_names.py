"""What pictures that are made of photographs are called."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from partdistillation.data.paths import LONGEST_NAME


def picture_name(file_name: str) -> str:
    """What a photograph's picture is called, where no other's could be called so."""
    return str(PurePosixPath(file_name).with_suffix(".png"))


def picture_names(file_names: Sequence[str]) -> list[str]:
    """What the pictures of photographs are called: `a.jpg` becomes `a.png`, in the same subfolder.

    Where that could be another photograph's picture too (of `a.webp`, say), it is `a.jpg.png`.
    """
    short = [*map(picture_name, file_names)]
    long = [f"{name}.png" for name in file_names]
    claims = Counter(name for both in zip(short, long, strict=True) for name in set(both))
    names = [name if claims[name] == 1 else longer for name, longer in zip(short, long, strict=True)]
    return [*map(_possible, names)]


def _possible(name: str) -> str:
    """The name; one that has become too long for file systems is cut, and told from others by its hash."""
    path = PurePosixPath(name)
    if len(path.name.encode()) <= LONGEST_NAME:
        return name
    start = path.name.encode()[: LONGEST_NAME // 2].decode(errors="ignore")
    return str(path.with_name(f"{start}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.png"))
