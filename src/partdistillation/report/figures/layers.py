"""What figures show of an image: rows of a stage as label maps, with colours that mean something."""

import difflib
import filecmp
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMasks
from partdistillation.functional.metrics import label_map
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, R, Row, SegmentRow
from partdistillation.runs.run_folder import remembered_images

LabelMap = Int[np.ndarray, "height width"]


@dataclass(frozen=True)
class Choice:
    """Which images a figure shows: these, or some at random."""

    names: Sequence[str] = ()
    """File names (or the end of them, or ids); without them `count` images are drawn by lot."""
    count: int = 4
    seed: int = 0


def choose(rows: Iterable[Row], choice: Choice, source: Path) -> list[str]:
    """Ids of the images to show, from those with objects; which are drawn doesn't depend on the rows' order.

    Raises:
        InputError: an image isn't there or was rejected, a name fits several, or there are no images.
    """
    usable = {row.image_id: row.file_name for row in rows if row.status == "ok"}
    if not usable:
        raise InputError(f"expected images with objects in {source}, found none")
    if choice.names:
        return [_named(name, usable, source) for name in choice.names]
    return sorted(usable, key=lambda image_id: _chance(choice.seed, image_id))[: choice.count]


def _named(name: str, usable: dict[str, str], source: Path) -> str:
    exact = [image_id for image_id, file in usable.items() if name in (image_id, file)]
    near = [one for one, file in usable.items() if file.endswith(f"/{name}") or Path(file).stem == name]
    for found in (exact, near):
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(usable[image_id] for image_id in found[:5])
            raise InputError(f"expected the name of one image, found several for {name!r}: {shown}")
    alike = difflib.get_close_matches(name, usable.values(), n=1)
    raise InputError(
        f"expected the name of an image of {source} with objects, found {name!r}"
        + (f". Did you mean {alike[0]!r}?" if alike else "; names are relative to the folder of photographs")
    )


def _chance(seed: int, image_id: str) -> bytes:
    return hashlib.blake2b(repr((seed, image_id)).encode(), digest_size=8).digest()


def rows_of(ids: Sequence[str], rows: Iterable[R], source: Path) -> list[R]:
    """The rows of these images, in their order.

    Raises:
        InputError: one of them isn't there.
    """
    wanted = set(ids)
    found = {row.image_id: row for row in rows if row.image_id in wanted}
    if missing := wanted - set(found):
        raise InputError(
            f"expected the same images in {source} as in the first folder, found none with the id "
            f"{min(missing)!r}: compare what was made from the same photographs"
        )
    return [found[image_id] for image_id in ids]


def require_same_photographs(
    stage: Path, rows: Sequence[Row], images_dir: Path, reference: Sequence[Row]
) -> None:
    """Make sure that a stage's rows are about the photographs that are drawn, not others of the same ids.

    Args:
        stage: the folder of the rows, in a run that may remember where its photographs are.
        rows: of some images.
        images_dir: the photographs that are drawn, as the reference names them.
        reference: rows of the same ids, whose photographs they are.

    Raises:
        InputError: an image has another size, or the run remembers another file.

    """
    own = remembered_images(stage)
    for row, drawn in zip(rows, reference, strict=True):
        ours, theirs = images_dir / drawn.file_name, (own or images_dir) / row.file_name
        if (row.width, row.height) == (drawn.width, drawn.height) and _is_same_file(ours, theirs):
            continue
        raise InputError(
            f"expected what was made from {ours} in {stage}, found another image of the id {row.image_id!r}, "
            f"{theirs} of {row.width} x {row.height} pixels: compare what was made from the same photographs"
        )


def _is_same_file(first: Path, second: Path) -> bool:
    """Whether their contents are the same, or it can't be told as one of them is gone."""
    if not first.is_file() or not second.is_file() or first.samefile(second):
        return True
    return filecmp.cmp(first, second, shallow=False)


# ---------------------------------------------------------------------- label maps


def object_map(row: ObjectRow) -> LabelMap:
    """Places of objects + 1; smaller ones lie on larger ones."""
    order = sorted(range(len(row.objects)), key=lambda place: -row.objects[place].area)
    return _painted(row, [row.objects[place].rle for place in order], order)


def segment_map(row: SegmentRow) -> LabelMap:
    """Numbers from 1; they mean nothing."""
    return _numbered(row, [one.rle for found in row.objects for one in found.segments])


def proposal_map(row: ProposalRow) -> LabelMap:
    """Numbers from 1, the best on top; they mean nothing."""
    proposals = [one for found in row.objects for one in found.proposals]
    return _numbered(row, [one.rle for one in sorted(proposals, key=lambda one: one.score)])


def part_map(row: PartRow) -> LabelMap:
    """Part ids + 1, the best on top. A part id is one of its object's class: the same one of another class
    is another part.
    """
    parts = sorted((one for found in row.objects for one in found.parts), key=lambda one: one.score)
    return _painted(row, [one.rle for one in parts], [one.part for one in parts])


def parts_in(rows: Iterable[PartRow]) -> dict[str, list[int]]:
    """The part ids that these images have, by object class."""
    found: dict[str, set[int]] = {}
    for row in rows:
        for one in row.objects:
            found.setdefault(one.category, set()).update(part.part for part in one.parts)
    return {category: sorted(ids) for category, ids in sorted(found.items()) if ids}


def _numbered(row: Row, rles: Sequence[bytes]) -> LabelMap:
    return _painted(row, rles, range(len(rles)))


def _painted(row: Row, rles: Sequence[bytes], ids: Sequence[int]) -> LabelMap:
    if not rles:
        return np.zeros((row.height, row.width), np.int64)
    return np.ascontiguousarray(label_map(EncodedMasks(rles, row.height, row.width), list(ids)))


def matched(labels: LabelMap, reference: LabelMap) -> LabelMap:
    """Numbers that mean nothing, changed to those of a reference that they share most pixels with.

    One to one (Hungarian); those without a counterpart get numbers that the reference doesn't have.
    """
    counts = np.zeros((labels.max() + 1, reference.max() + 1), np.int64)
    np.add.at(counts, (labels, reference), 1)
    mine, theirs = linear_sum_assignment(counts[1:, 1:], maximize=True)
    names = np.zeros(len(counts), np.int64)
    names[mine + 1] = np.where(counts[mine + 1, theirs + 1] > 0, theirs + 1, 0)
    new = np.flatnonzero(names[1:] == 0) + 1
    names[new] = reference.max() + 1 + np.arange(len(new))
    renamed: LabelMap = names[labels]
    return renamed
