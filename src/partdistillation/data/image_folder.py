"""A folder of images, usually a folder a class: `DIR/CLASS/*.jpg`, nested at will below the class."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class FolderScan:
    """The images found, sorted by file name, and how many other files (or hidden ones) were skipped."""

    images: tuple[ImageInput, ...]
    skipped: int

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({image.category for image in self.images if image.category is not None}))


def scan(images_dir: Path) -> FolderScan:
    """List a folder's images by extension; content isn't looked at. The id of an image is its file name.

    An image's class is the first folder on its path, None for images in `images_dir` itself. Links to
    folders are followed. Raises InputError where `images_dir` isn't a directory or has no images.
    """
    if not images_dir.is_dir():
        raise InputError(f"{images_dir}: expected a directory of images, found no directory; check the path")
    names = list(_files(images_dir))
    chosen = [name for name in names if not _hidden(name) and Path(name).suffix.lower() in EXTENSIONS]
    if not chosen:
        raise InputError(
            f"{images_dir}: expected images ({', '.join(sorted(EXTENSIONS))}), "
            f"found {len(names)} other files; give the folder that holds the photographs, or "
            "their class folders"
        )
    images = tuple(_input(images_dir, name) for name in sorted(chosen))
    return FolderScan(images, skipped=len(names) - len(chosen))


def _files(root: Path) -> Iterator[str]:
    """Every file below `root`, as a relative path with forward slashes."""
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if not _leads_back(here / name)]
        for name in files:
            yield (here / name).relative_to(root).as_posix()


def _leads_back(folder: Path) -> bool:
    """Whether this is a link to one of the folders on the way to it: following it would never end."""
    return folder.is_symlink() and folder.resolve() in {
        parent.resolve() for parent in folder.absolute().parents
    }


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _input(root: Path, name: str) -> ImageInput:
    category = name.split("/", 1)[0] if "/" in name else None
    try:
        name.encode()
    except UnicodeEncodeError:
        # Its bytes can't be stored as text; escaped, the name is still readable and unique.
        readable = os.fsencode(name).decode("utf-8", "backslashreplace")
        return ImageInput(
            readable, readable, root / name, problem="expected a file name in UTF-8; rename the file"
        )
    return ImageInput(name, name, root / name, category)
