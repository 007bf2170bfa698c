"""ImageNet-1K and 21K as folders of classes: an input as it is, without parts; only checked here.

Layout: a folder a class, named by the id of its synset in WordNet 3.0, below train/ and val/ or at the top:

    train/n01440764/n01440764_10026.JPEG
    val/n01440764/ILSVRC2012_val_00000293.JPEG

ImageNet-1K (ILSVRC 2012) has 1,000 classes. Its archive unpacks to one more archive a class, and its
validation images have to be sorted into folders. ImageNet-21K has had two releases: autumn 2011 with 21,841
classes and winter 2021 with 19,167, without those of people.

Licence: ImageNet's terms (research and education, no commerce; one has to register).
Deng et al.: ImageNet: A Large-Scale Hierarchical Image Database, CVPR 2009. Russakovsky et al.: ImageNet
Large Scale Visual Recognition Challenge, IJCV 2015, arXiv:1409.0575.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partdistillation.classes.wordnet import SYNSET_ID, VERSION, read_wordnet
from partdistillation.data.image_folder import EXTENSIONS
from partdistillation.data.images import load_image
from partdistillation.datasets.part_datasets import (
    Finding,
    PreparedSplit,
    compared,
    elsewhere,
    evenly,
    listed,
)
from partdistillation.errors import InputError
from partdistillation.runs.progress import followed

PLACES = ("train", "val", ".")
NUM_IMAGES = {
    ("train", 1_000): 1_281_167,
    ("val", 1_000): 50_000,
    (".", 1_000): 1_281_167,
    (".", 21_841): 14_197_122,
}
"""Published, by place and number of classes."""
RELEASES = {1_000: "ImageNet-1K", 21_841: "ImageNet-21K, autumn 2011", 19_167: "ImageNet-21K, winter 2021"}
"""By the number of their classes."""

_SAMPLED = 200
_ANYWHERE = [f"{place}/n{'[0-9]' * 8}" for place in PLACES]
_GET = "get it at https://www.image-net.org/download.php"


class _Classes(NamedTuple):
    """What is in a folder of classes."""

    folders: list[str]
    others: list[str]
    """Folders that aren't named as classes."""
    files: list[str]


@dataclass(frozen=True)
class ImageNet:
    name: str = "imagenet"
    splits: tuple[str, ...] = ()

    def check(self, root: Path) -> Iterator[Finding]:
        listings = {place: _listing(root / place) for place in PLACES if (root / place).is_dir()}
        filled = {place: listing for place, listing in listings.items() if listing.folders}
        if not filled:
            yield Finding("problem", _nothing(root, listings) + elsewhere(root, _ANYWHERE))
            return
        for place in sorted(listings.keys() & {"train", "val"} - filled.keys()):
            # Beside the other one it would be overlooked; validation images come unsorted.
            yield Finding("problem", f"{place}: {_nothing(root / place, {place: listings[place]})}")
        for place, listing in filled.items():
            yield from _check_place(root / place, place, listing)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        raise InputError(
            f"{root}: expected a data set of parts, found one without ({self.name}, split {split}, to "
            f"{out}): there is nothing to prepare, give its folder of classes with --images"
        )


def _check_place(folder: Path, place: str, listing: _Classes) -> Iterator[Finding]:
    prefix = "" if place == "." else f"{place}: "
    num_classes = len(listing.folders)
    release = RELEASES.get(num_classes)
    known = ", ".join(f"{name}: {number:,}" for number, name in RELEASES.items())
    yield Finding(
        "ok" if release else "note",
        f"{prefix}{num_classes} classes, {f'as {release}' if release else f'which no release has ({known})'}",
    )
    if listing.others:
        yield Finding("note", f"{prefix}folders that aren't named after synsets: {listed(listing.others)}")
    num_images, empty, sample = 0, [], []
    for index, name in enumerate(followed(listing.folders, f"{folder}: listing", unit="classes")):
        images = _images(folder / name)
        num_images += len(images)
        empty += [] if images else [name]
        sample += _some_of([folder / name / image for image in images], index, num_classes)
    yield compared(f"{prefix}images", num_images, NUM_IMAGES.get((place, num_classes)))
    if empty:
        yield Finding("problem", f"{prefix}classes without an image: {listed(empty)}: {_GET}")
    yield from _check_files(prefix, sample)
    yield _check_names(prefix, listing.folders)


def _check_files(prefix: str, sample: Sequence[Path]) -> Iterator[Finding]:
    """Read some of the images whole: those that were cut off can't be told otherwise."""
    problems = []
    for path in followed(sample, f"{prefix}reading", unit="images"):
        try:
            load_image(path)
        except InputError as error:
            problems.append(f"{prefix}{error}; {_GET}")
    yield from (Finding("problem", problem) for problem in problems)
    if sample and not problems:
        yield Finding("ok", f"{prefix}{len(sample)} images, evenly chosen, were read and are whole")


def _check_names(prefix: str, ids: Sequence[str]) -> Finding:
    try:
        synsets = read_wordnet().synsets
    except InputError as error:
        return Finding("note", f"{prefix}the classes' names weren't looked up: {error}")
    unknown = [synset for synset in ids if int(synset[1:]) not in synsets]
    if unknown:
        return Finding("problem", f"{prefix}no synsets of WordNet {VERSION}: {listed(unknown)}")
    names = [f"{synset} {synsets[int(synset[1:])].name}" for synset in ids]
    return Finding("ok", f"{prefix}all classes are synsets of WordNet {VERSION}: {listed(names)}")


def _nothing(root: Path, listings: dict[str, _Classes]) -> str:
    """Why there are no classes, as far as that can be told."""
    files = [name for listing in listings.values() for name in listing.files]
    archives = [name for name in files if SYNSET_ID.fullmatch(Path(name).stem) and name.endswith(".tar")]
    if archives:
        what, do = f"archives ({listed(sorted(archives))})", "unpack each into a folder of its name"
    elif loose := [name for name in files if _is_image(name)]:
        what = f"images in no folder ({listed(sorted(loose))})"
        do = "sort them into folders of their classes"
    else:
        what, do = "none", _GET
    expected = "expected folders of classes such as n01440764, there or in train/ and val/"
    return f"{root}: {expected}, found {what}: {do}"


def _listing(folder: Path) -> _Classes:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir() else files).append(entry.name)
    classes = sorted(name for name in folders if SYNSET_ID.fullmatch(name))
    others = sorted({*folders} - {*classes} - {*PLACES} - {name for name in folders if name.startswith(".")})
    return _Classes(classes, others, files)


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if _is_image(entry.name)]


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def _some_of(paths: Sequence[Path], index: int, num_classes: int) -> list[Path]:
    """Of the images of class `index`, those to read: always the same, and some 200 of all classes."""
    if index % max(1, num_classes // _SAMPLED):
        return []
    share = max(1, _SAMPLED // num_classes)
    return list(evenly(sorted(paths), share))
