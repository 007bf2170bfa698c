"""A folder of images, usually a folder a class: `DIR/CLASS/*.jpg`, nested at will below the class.

Every file that is seen is an image with a row of its own, or it is counted, and named by its kind.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from partdistillation.data.images import ImageInput
from partdistillation.data.paths import is_file, is_folder
from partdistillation.errors import InputError
from partdistillation.runs import listings, terminal
from partdistillation.runs.archives import members
from partdistillation.runs.listings import Entry, Listing
from partdistillation.runs.tar_index import COMPRESSED_ARCHIVE, SUFFIX, Member, suffix_of

EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".pjpeg",
        ".pjp",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
    ]
)
UNREAD = frozenset(
    [
        ".jxl",
        ".jp2",
        ".j2k",
        ".jxr",
        ".psd",
        ".svg",
        ".tga",
        ".ico",
        ".pcx",
        ".pnm",
        ".ppm",
        ".pgm",
        ".exr",
        ".hdr",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
        ".raw",
    ]
)
"""Photographs and pictures in formats that aren't read: rows that say so."""
_MARK = Path("objects", "manifest.json")
"""What stage 1 leaves in the folder of a run, and `predict` in its own."""
_NAMED = 5

_log = terminal.logger(__name__)


@dataclass(frozen=True)
class FolderScan:
    """The images found, sorted by file name, and what else was seen."""

    images: tuple[ImageInput, ...]
    others: Counter[str] = field(default_factory=Counter)
    """Files that are no images, by suffix ("hidden", "without suffix")."""
    unreadable: tuple[str, ...] = ()
    """Folders that can't be listed, each with the reason."""
    runs: tuple[str, ...] = ()
    """Folders of runs, whose pictures are no photographs."""
    unpacked: tuple[str, ...] = ()
    """Archives beside folders of their names, which are read instead."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({image.category for image in self.images if image.category is not None}))

    def notes(self) -> Iterator[str]:
        """What was seen and isn't among the images."""
        if self.others:
            yield f"not photographs: {_counted(self.others)}"
        if self.unreadable:
            yield f"folders that can't be read ({len(self.unreadable)}): {_listed(self.unreadable)}"
        if self.runs:
            runs = _listed(self.runs)
            yield f"folders of runs, whose pictures are no photographs ({len(self.runs)}): {runs}"
        if self.unpacked:
            unpacked = _listed(self.unpacked)
            yield f"archives beside their folders, which are read instead ({len(self.unpacked)}): {unpacked}"


def scan(images_dir: Path, out: Path | None = None) -> FolderScan:
    """List a folder's images by extension; content isn't looked at. The id of an image is its file name.

    An image's class is the first folder on its path, None for images in `images_dir` itself; a tar archive is
    a folder of its name (`runs/archives.py`), and what a WebDataset says in a member `.cls` is the class.
    Links to folders are followed; folders of runs are left out, and so is `out`. Images in formats that
    aren't read have a problem. What else was seen is said in the log.

    Raises InputError where `images_dir` isn't a directory, has no images, or is `out`; where an archive is
    damaged or compressed.
    """
    if not is_folder(images_dir):
        packed = images_dir.suffix == SUFFIX and is_file(images_dir)
        what = "an archive; give the folder that holds it" if packed else "no directory; check the path"
        raise InputError(f"{images_dir}: expected a directory of images, found {what}")
    if out is not None and out.resolve() == images_dir.resolve():
        raise InputError(
            f"{images_dir}: expected another folder than the one that is written to, as pictures are written "
            "there: choose another --out"
        )
    walk = _Walk(images_dir, out)
    listing = listings.of(images_dir)
    names = list(walk.files() if listing is None else walk.listed(listing))
    chosen = [name for name in names if _kind(name) in EXTENSIONS | UNREAD]
    found = FolderScan(
        tuple(walk.input(name) for name in sorted(chosen)),
        Counter(sorted(map(_kind, set(names) - set(chosen)))),
        tuple(sorted(walk.unreadable)),
        tuple(sorted(walk.runs)),
        tuple(sorted(walk.unpacked)),
    )
    if all(_kind(name) in UNREAD for name in chosen):
        raise InputError(_without_images(images_dir if listing is None else listing.url, names, found))
    for note in found.notes():
        _log.warning("%s: %s", images_dir if listing is None else listing.url, note)
    return found


def _without_images(images_dir: Path | str, names: list[str], found: FolderScan) -> str:
    kinds = f" ({_counted(Counter(map(_kind, names)))})" if names else ""
    unreadable = f" and folders that can't be read: {_listed(found.unreadable)}" if found.unreadable else ""
    return (
        f"{images_dir}: expected images ({', '.join(sorted(EXTENSIONS))}), found {len(names)} other "
        f"files{kinds}{unreadable}; give the folder that holds the photographs, or their class folders"
    )


class _Walk:
    """Goes through the folders below `root`, and keeps which it can't or shouldn't."""

    def __init__(self, root: Path, out: Path | None) -> None:
        self.root, self.out = root, None if out is None else out.resolve()
        self.unreadable: list[str] = []
        self.runs: list[str] = []
        self.unpacked: list[str] = []
        self.problems: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        """By name without suffixes, as a WebDataset joins what belongs together."""

    def files(self) -> Iterator[str]:
        """Every file, those in archives too, as a relative path with forward slashes."""
        for folder, subfolders, files in os.walk(self.root, followlinks=True, onerror=self._refused):
            here = Path(folder)
            subfolders[:] = [
                name for name in subfolders if not _leads_back(here / name) and not self._is_run(here / name)
            ]
            for name in files:
                suffix = suffix_of(name)
                if not suffix:
                    yield (here / name).relative_to(self.root).as_posix()
                elif is_folder(here / name.removesuffix(suffix)):
                    self.unpacked.append(_readable((here / name).relative_to(self.root).as_posix()))
                else:
                    yield from self._members(here / name)

    def listed(self, listing: Listing) -> Iterator[str]:
        """As `files`, of a folder in a bucket; an archive that has a row lies beside its folder."""
        runs = listing.folders_with(_MARK.as_posix())
        self.runs += map(_readable, runs)
        below = tuple(f"{run}/" for run in runs)
        for entry in listing:
            if entry.name.startswith(below):
                continue
            if suffix_of(entry.name) and not entry.archive:
                self.unpacked.append(_readable(entry.name))
            else:
                yield self._noted(entry.name, entry)

    def _members(self, archive: Path) -> Iterator[str]:
        """The names of what is in an archive, as if it were unpacked."""
        if archive.suffix != SUFFIX:
            raise InputError(f"{archive}: {COMPRESSED_ARCHIVE}")
        folder = archive.with_suffix("").relative_to(self.root).as_posix()
        for name, member in members(archive).items():
            yield self._noted(f"{folder}/{name}", member)

    def _noted(self, name: str, file: Member | Entry) -> str:
        """The name, after a look at what is known of the file besides."""
        if file.problem:
            self.problems[name] = file.problem
        elif file.category:
            self.classes[_key(name)] = file.category
        return name

    def input(self, name: str) -> ImageInput:
        """The image of that name."""
        image = _input(self.root, name)
        category = self.classes.get(_key(name)) or image.category
        return replace(image, category=category, problem=image.problem or self.problems.get(name, ""))

    def _refused(self, error: OSError) -> None:
        folder = Path(error.filename)
        name = folder.relative_to(self.root).as_posix() if folder.is_relative_to(self.root) else folder.name
        self.unreadable.append(f"{_readable(name)} ({error.strerror})")

    def _is_run(self, folder: Path) -> bool:
        """Whether a run has written it, this one or another, or is about to."""
        if is_file(folder / _MARK) or (self.out is not None and folder.resolve() == self.out):
            self.runs.append(_readable(folder.relative_to(self.root).as_posix()))
            return True
        return False


def _key(name: str) -> str:
    """A name up to the first point after its folders."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _leads_back(folder: Path) -> bool:
    """Whether this is a link to one of the folders on the way to it: following it would never end."""
    return folder.is_symlink() and folder.resolve() in {
        parent.resolve() for parent in folder.absolute().parents
    }


def _kind(name: str) -> str:
    """A file's suffix in lower case, or what it has instead."""
    if any(part.startswith(".") and part != ".." for part in name.split("/")):
        return "hidden"
    return _readable(Path(name).suffix.lower()) or "without suffix"


def _input(root: Path, name: str) -> ImageInput:
    category = name.split("/", 1)[0] if "/" in name else None
    readable, suffix = _readable(name), _kind(name)
    if readable != name:
        return ImageInput(
            readable, readable, root / name, problem="expected a file name in UTF-8; rename the file"
        )
    problem = (
        f"expected a format that is read, found {suffix}: convert it to JPEG" if suffix in UNREAD else ""
    )
    return ImageInput(name, name, root / name, category, problem)


def _readable(name: str) -> str:
    """The name; where its bytes can't be stored as text escaped, which is still unique."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _counted(kinds: Counter[str]) -> str:
    named = kinds.most_common(_NAMED)
    rest = kinds.total() - sum(count for _, count in named)
    others = [("of other kinds", rest)] if rest else []
    return ", ".join(f"{count} {kind}" for kind, count in [*named, *others])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
