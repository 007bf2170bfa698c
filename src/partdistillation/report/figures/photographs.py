"""Which photographs a figure shows, and the rows about them."""

import difflib
import filecmp
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from partdistillation.errors import InputError
from partdistillation.runs.records import R, Row
from partdistillation.runs.run_folder import remembered_images


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
    near = [
        image_id for image_id, file in usable.items() if file.endswith(f"/{name}") or Path(file).stem == name
    ]
    for ids in (exact, near):
        if len(ids) == 1:
            return ids[0]
        if ids:
            files = ", ".join(usable[image_id] for image_id in ids[:5])
            raise InputError(f"expected the name of one image, found several for {name!r}: {files}")
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
    by_id = {row.image_id: row for row in rows if row.image_id in wanted}
    if missing := wanted - set(by_id):
        raise InputError(
            f"expected the same images in {source} as in the first folder, found none with the id "
            f"{min(missing)!r}: compare what was made from the same photographs"
        )
    return [by_id[image_id] for image_id in ids]


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
