"""Places that are URLs, such as s3://bucket/photos: settings hold them as paths, where they lose a slash."""

import hashlib
import re
from pathlib import Path

from partdistillation.errors import InputError

REMOTE = "remote"
"""Folder in a run of what stands for the places at URLs."""
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])", re.IGNORECASE)
"""With one slash too: what `Path` makes of a URL."""
_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")


def is_url(place: Path | str) -> bool:
    """Whether this is a URL and not a path.

    >>> is_url("s3://bucket/photos"), is_url(Path("s3://bucket/photos")), is_url("photos/s3")
    (True, True, False)
    """
    return _URL.match(str(place)) is not None


def as_url(place: Path | str) -> str:
    """A URL as it is written, without a slash at its end.

    >>> as_url(Path("s3://bucket/photos"))
    's3://bucket/photos'

    Raises:
        InputError: it is of a kind that isn't known.
    """
    scheme, rest = str(place).split(":", maxsplit=1)
    if scheme.lower() not in _SCHEMES:
        kinds = ", ".join(f"{known}://" for known in _SCHEMES)
        raise InputError(f"expected a path or a URL that begins with {kinds}; found {place}")
    return f"{scheme.lower()}://{rest.strip('/')}"


def written(place: Path | str) -> str:
    """A path or URL as people write it.

    >>> written(Path("s3://bucket/photos")), written(Path("photos/car"))
    ('s3://bucket/photos', 'photos/car')
    """
    return as_url(place) if is_url(place) else str(place)


def stand_in(place: Path, out: Path) -> Path:
    """The place itself; for a URL, the file or folder in a run's folder that stands for it.

    It has the URL's name, from which, where there are no class folders, the photographs' class is taken.

    >>> stand_in(Path("s3://bucket/photos"), Path("out")).as_posix()
    'out/remote/9a06cc27/photos'
    """
    if not is_url(place):
        return place
    url = as_url(place)
    return out / REMOTE / hashlib.sha256(url.encode()).hexdigest()[:8] / url.rpartition("/")[2]
