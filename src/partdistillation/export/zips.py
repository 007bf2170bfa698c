"""Zip files, written piece by piece or in memory."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from partdistillation.runs.atomic import replacing_file


@contextmanager
def replacing_zip(path: Path) -> Iterator[ZipFile]:
    """A new zip file, which is there, whole, when the block ends; after an error what was there is left.

    Raises:
        StoreError: it can't be written.
    """
    with (
        replacing_file(path) as write,
        ZipFile(_Stream(write), "w", ZIP_DEFLATED) as archive,  # type: ignore[call-overload]
    ):
        yield archive


def undated(name: str) -> ZipInfo:
    """A member, dated 1980, as zip counts from there: the same content gives the same bytes."""
    member = ZipInfo(name)
    member.compress_type = ZIP_DEFLATED
    return member


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip file with these files, by their names in it."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(undated(name), data)
    return buffer.getvalue()


class _Stream:
    """What `ZipFile` needs of a file that it can't go back in."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(data)
        return len(data)

    def flush(self) -> None:
        """Everything is written at once."""
