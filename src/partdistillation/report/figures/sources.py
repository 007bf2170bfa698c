"""What figures read of runs: photographs and rows about them, ways to group pixels, names of parts."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from partdistillation.baselines import FOLDER
from partdistillation.config import SegmentsConfig
from partdistillation.errors import ConfigError, InputError
from partdistillation.runs import seen
from partdistillation.runs.manifest import load
from partdistillation.runs.part_table import PartTable, read_part_table
from partdistillation.runs.records import R, Row, SegmentRow
from partdistillation.runs.run_folder import remembered_images
from partdistillation.runs.stage_reader import read_rows

PART_NAMES = "part_names.json"
"""Of the supervised baseline: by object class, the names of its part classes in order."""


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
    ends = [key for key, file in usable.items() if file.endswith(f"/{name}") or Path(file).stem == name]
    for ids in (exact, ends):
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
    ours, theirs = seen.look(first), seen.look(second)
    return ours is None or theirs is None or ours.sha256 == theirs.sha256


# ---------------------------------------------------------------------- ways to group pixels


class Way(NamedTuple):
    """A grouping: its name, and where its rows are."""

    name: str
    folder: Path
    number: int | None
    """Of the rows' ids, where they are `NUMBER:ID`, as a validation writes them."""

    def rows(self) -> Iterator[SegmentRow]:
        """Its rows, with the images' own ids."""
        for row in read_rows(self.folder, SegmentRow):
            if self.number is None:
                yield row
                continue
            number, image_id = row.image_id.split(":", 1)
            if int(number) == self.number:
                yield replace(row, image_id=image_id)


def ways_in(folder: Path) -> list[Way]:
    """The ways to group pixels whose results a folder holds, the method's own first."""
    compared = {
        name: value
        for name, value in load(folder).settings.items()
        if isinstance(value, Mapping) and "features" in value
    }
    if not compared:
        return [Way(folder.resolve().parent.name, folder, None)]
    return [Way(name, folder, number) for number, name in enumerate(_in_order(compared))]


def _in_order(compared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names in the order of their numbers, which a manifest doesn't keep: as the controls have them."""
    from partdistillation.evaluation.controls import (
        segment_controls,  # loads torch, for which nothing else here asks
    )

    for value in compared.values():
        with suppress(ConfigError):  # settings of another version
            names = list(segment_controls(SegmentsConfig().updated(value)))
            if set(names) == set(compared):
                return [name.removeprefix("segments: ") for name in names]
    return [f"way {number}" for number in range(len(compared))]


# ---------------------------------------------------------------------- names of parts


@dataclass(frozen=True)
class Names:
    """Names of part classes, and what was decided on them."""

    table: PartTable = field(default_factory=PartTable)
    listed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.listed) or any(decided.names for decided in self.table.classes.values())

    def name(self, category: str, part: int) -> str:
        """What a part class is called."""
        listed = self.listed.get(category, ())
        return listed[part] if part < len(listed) else self.table.name(category, part)


def names_for(stage: Path, part_table: Path | None = None) -> Names:
    """The names of a stage's parts: a table's, or what their baseline learned them as.

    Args:
        stage: folder of parts; a baseline's names lie beside it, or in the baseline's folder of the demo.
        part_table: decisions on the parts.

    Raises:
        InputError: a file can't be read.
    """
    table = read_part_table(part_table) if part_table else PartTable()
    lists = (stage.parent / PART_NAMES, stage.parent.parent / FOLDER / stage.name / PART_NAMES)
    return Names(table, next((_read(path) for path in lists if path.is_file()), {}))


def _read(path: Path) -> dict[str, list[str]]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        return {str(category): [str(part) for part in parts] for category, parts in names.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: expected names of parts by object class as JSON, found {error}") from None
