"""A format in two steps, so that images may be shared out: what it makes of each, and of all of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from partdistillation.export.labels import ImageLabels
from partdistillation.runs.progress import Countable

Entries = Countable[Sequence[bytes]]
"""The entries of all images, in their order. They are gone through several times."""


class Piece(NamedTuple):
    """What a format makes of an image."""

    entries: Sequence[bytes] = ()
    """For the files that hold all images, as the format's `join` takes them."""
    files: Mapping[str, bytes] = {}
    """Of its own, by their paths in the export."""


@runtime_checkable
class Writer(Protocol):
    """A format. Picklable: each worker has one."""

    def piece(self, image: ImageLabels) -> Piece:
        """What it makes of an image, whichever others there are.

        Raises:
            InputError: a mask is damaged.
        """

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the files that hold all images; return a line on what there is."""


def compact(entry: Mapping[str, object]) -> str:
    """An entry as JSON without spaces, in the letters that it has.

    Raises:
        ValueError: a number is infinite or none.
    """
    return json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
