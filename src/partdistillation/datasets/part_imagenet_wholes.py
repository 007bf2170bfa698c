"""The object masks of PartImageNet's later release, in `annotations/SPLIT_whole/`, beside those of the parts.

An image has a label map `n01440764_10029.png` there: the values 0 to 157 are classes, 158 is the background.
Copies without these maps may have `SPLIT.json` there, COCO's annotations of the objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from partdistillation.data.coco import CocoDataset, CocoImage, read_instances
from partdistillation.data.images import load_label_map
from partdistillation.datasets.part_datasets import Finding, evenly, listed, other_size
from partdistillation.datasets.published_coco import announced, regions
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel
from partdistillation.functional.masks import EncodedMask, area, encode, encoded, union
from partdistillation.runs.progress import followed

BACKGROUND = 158
_SAMPLED = 200


@dataclass(frozen=True)
class Wholes:
    """The object masks of a split."""

    folder: Path
    dataset: CocoDataset | None
    """Those of images without a label map."""
    entries: Mapping[str, CocoImage]
    """The images of that file, by their stems."""

    @classmethod
    def of_split(cls, root: Path, split: str) -> "Wholes":
        """The masks that are there; there may be none.

        Raises:
            InputError: their JSON can't be read.
        """
        folder = root / "annotations" / f"{split}_whole"
        files = (folder / f"{split}.json", folder / f"{split}_whole.json", folder.with_suffix(".json"))
        path = next(filter(Path.is_file, files), None)
        if path is None or any(folder.glob("*.png")):
            return cls(folder, None, {})
        dataset = read_instances(announced(path))
        usable = (image for image in dataset.images if not image.problem)
        return cls(folder, dataset, {_stem(image): image for image in usable})

    @property
    def exist(self) -> bool:
        return bool(self.dataset) or self.folder.is_dir()

    def has(self, image: CocoImage) -> bool:
        """Whether there is a mask of the image's object."""
        return _stem(image) in self.entries or self._map(image).is_file()

    def applied(self, image: CocoImage, objects: tuple[ObjectLabel, ...]) -> tuple[ObjectLabel, ...]:
        """The object of an image with its own mask; as it is where there are no masks, or several objects.

        Raises:
            InputError: the mask is missing, can't be read, is of another size, or empty.
        """
        if len(objects) != 1 or not self.exist:
            return objects
        return (replace(objects[0], mask=self.mask(image)),)

    def mask(self, image: CocoImage) -> EncodedMask:
        """An image's object.

        Raises:
            InputError: as `applied`.
        """
        mask = self._annotated(image) if self.dataset else self._labelled(image)
        if not area(*mask):
            raise InputError(f"expected an object in {self.folder} of {image.file_name}, found none")
        return mask

    def _labelled(self, image: CocoImage) -> EncodedMask:
        path = self._map(image)
        labels = load_label_map(path)
        height, width = labels.shape
        if problem := other_size(image, width, height):
            raise InputError(f"{path}: {problem}")
        return EncodedMask(encode(labels < BACKGROUND), height, width)

    def _annotated(self, image: CocoImage) -> EncodedMask:
        entry = self.entries.get(_stem(image))
        if self.dataset is None or entry is None:
            raise InputError(f"expected {image.file_name} among the objects in {self.folder}, found none")
        if problem := other_size(image, entry.width, entry.height):
            raise InputError(f"{self.dataset.path}: {problem}")
        masks, reasons = regions(self.dataset, entry)
        if not masks:
            raise InputError(f"{self.dataset.path}: no object of {image.file_name}: {listed(reasons)}")
        return encoded(union([mask for _, mask in masks]))

    def _map(self, image: CocoImage) -> Path:
        return self.folder / f"{_stem(image)}.png"


def check_wholes(root: Path, split: str, dataset: CocoDataset) -> Iterator[Finding]:
    """What there is to say about the object masks of a split that should have them."""
    try:
        wholes = Wholes.of_split(root, split)
    except InputError as error:
        yield Finding("problem", str(error))
        return
    images = [image for image in dataset.images if not image.problem]
    if not wholes.exist:
        yield Finding("note", f"{split}: no object masks ({wholes.folder}): objects are unions of parts")
        return
    if missing := [image.file_name for image in images if not wholes.has(image)]:
        yield Finding("note", f"{split}: images without an object mask: {listed(missing)}")
    sample = evenly([image for image in images if wholes.has(image)], _SAMPLED)
    problems = [
        problem
        for image in followed(sample, f"{split}: reading", unit="object masks")
        if (problem := _damage(wholes, image))
    ]
    yield from (Finding("problem", problem) for problem in problems)
    if sample and not problems:
        yield Finding("ok", f"{split}: {len(sample)} object masks were read and are sound")


def _damage(wholes: Wholes, image: CocoImage) -> str:
    try:
        wholes.mask(image)
    except InputError as error:
        return str(error)
    return ""


def _stem(image: CocoImage) -> str:
    return PurePosixPath(image.file_name).stem
