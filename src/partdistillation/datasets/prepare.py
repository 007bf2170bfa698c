"""All data sets by name, one a line, and what the command line does with them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from partdistillation.datasets.cityscapes_part import CityscapesPart
from partdistillation.datasets.coco_instances import Coco
from partdistillation.datasets.imagenet import ImageNet
from partdistillation.datasets.own_parts import OwnParts
from partdistillation.datasets.paco import Paco
from partdistillation.datasets.part_datasets import Finding, PartDataset
from partdistillation.datasets.part_imagenet import PART_IMAGENETS
from partdistillation.datasets.part_imagenet_pp import PartImageNetPP
from partdistillation.datasets.pascal_part import PASCAL_PARTS
from partdistillation.errors import InputError
from partdistillation.runs.terminal import say

_ALL: tuple[PartDataset, ...] = (
    *PART_IMAGENETS,
    PartImageNetPP(),
    Paco(),
    *PASCAL_PARTS,
    CityscapesPart(),
    ImageNet(),
    Coco(),
    OwnParts(),
)
PART_DATASETS: Mapping[str, PartDataset] = {dataset.name: dataset for dataset in _ALL}


def findings(name: str, root: Path) -> Iterator[Finding]:
    """What there is to say about a copy of a data set, as it is found out.

    Raises:
        InputError: no such data set, or `root` isn't a folder.
    """
    return _copy_of(name, root).check(root)


def prepare(name: str, root: Path, split: str, out: Path) -> None:
    """Write a split of a data set as COCO objects + parts, and print how to go on.

    Raises:
        InputError: no such data set or split, or the copy can't be used; nothing is written.
    """
    dataset = _copy_of(name, root)
    if dataset.splits and split not in dataset.splits:
        raise InputError(f"{name}: expected one of the splits {', '.join(dataset.splits)}, found {split!r}")
    prepared = dataset.write(root, split, out)
    for note in prepared.notes:
        say(note)
    say(
        f"{name}, {split}: {prepared.num_images} images, {prepared.num_objects} objects, "
        f"{prepared.num_parts} parts. Go on with\n"
        f"  --images {quote(str(prepared.images_dir))} \\\n"
        f"  --objects {quote(str(prepared.objects))} \\\n"
        f"  --parts {quote(str(prepared.parts))}"
    )


def _copy_of(name: str, root: Path) -> PartDataset:
    if name not in PART_DATASETS:
        raise InputError(f"expected one of the data sets {', '.join(PART_DATASETS)}, found {name!r}")
    if not root.is_dir():
        raise InputError(f"{root}: expected the folder of the data set {name}, found none; check the path")
    return PART_DATASETS[name]
