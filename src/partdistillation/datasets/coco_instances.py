"""COCO 2017: objects of 80 classes with masks, an input as it is, without parts; only checked here.

Layout, as the archives unpack to it (`annotations_trainval2017.zip`, `train2017.zip`, `val2017.zip`):

    annotations/instances_val2017.json
    val2017/000000000139.jpg                  or below images/

Licence: CC BY 4.0 for the annotations; the images are Flickr's, each with a licence of its own.
Lin et al.: Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partdistillation.data.coco import CocoDataset, CocoImage, read_instances
from partdistillation.datasets.part_datasets import Finding, PreparedSplit, compared
from partdistillation.datasets.published_coco import announced, check_file, file_of, located
from partdistillation.errors import InputError


class Published(NamedTuple):
    images: int
    objects: int
    """With crowd regions."""


PUBLISHED = {"train": Published(118_287, 860_001), "val": Published(5_000, 36_781)}
NUM_CLASSES = 80

_GET = "get annotations_trainval2017.zip at https://cocodataset.org/#download"
_GET_IMAGES = "get {split}2017.zip at https://cocodataset.org/#download"


@dataclass(frozen=True)
class Coco:
    name: str = "coco"
    splits: tuple[str, ...] = ()

    def check(self, root: Path) -> Iterator[Finding]:
        for split in PUBLISHED:
            name = f"instances_{split}2017.json"
            try:
                dataset = read_instances(announced(file_of(root, (f"annotations/{name}", name))))
            except InputError as error:
                yield Finding("problem", f"{split}: {error}; {_GET}")
                continue
            yield from _check_split(root, split, dataset)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        raise InputError(
            f"{root}: expected a data set of parts, found one without ({self.name}, split {split}, to "
            f"{out}): there is nothing to prepare, give --images {root}/val2017 and "
            f"--objects {root}/annotations/instances_val2017.json"
        )


def _check_split(root: Path, split: str, dataset: CocoDataset) -> Iterator[Finding]:
    count = sum(len(annotations) for _, annotations, _ in dataset.annotated())
    yield compared(f"{split}: images", len(dataset.images), PUBLISHED[split].images)
    yield compared(f"{split}: objects", count, PUBLISHED[split].objects)
    yield compared(f"{split}: classes", len(dataset.categories), NUM_CLASSES)

    def path_of(image: CocoImage) -> str:
        return located(root, [f"{folder}{split}2017/{image.file_name}" for folder in ("", "images/")])

    yield from check_file(root, dataset, path_of, _GET_IMAGES.format(split=split))
