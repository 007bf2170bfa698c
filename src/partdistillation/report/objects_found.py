"""What stage 1 found, to be looked at before hours are spent on it: counts, and a sheet of pictures."""

import hashlib
import heapq
import io
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from partdistillation.config import Inputs
from partdistillation.report.objects_sheet import objects_sheet
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.store import read_rows
from partdistillation.stages.objects import FOLDER

SHEET = "objects_sheet.png"
MOST_CLASSES, MOST_REASONS = 10, 3
_SHARES = {
    0.0: "lowest",
    0.25: "a quarter up to",
    0.5: "half up to",
    0.75: "three quarters up to",
    1.0: "highest",
}
_SPECIFIC = re.compile(r"'[^']*'|\d[\d.]*")

_log = logging.getLogger(__name__)


@dataclass
class ObjectCounts:
    """Counts over the rows of stage 1."""

    images: Counter[int] = field(default_factory=Counter)
    """By how many objects they have."""
    classes: Counter[str] = field(default_factory=Counter)
    """Objects by class."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Images without objects by their first reason; what is particular to one image is left out of it."""
    scores: Counter[float] = field(default_factory=Counter)
    """Objects by score, in hundredths."""

    @classmethod
    def count(cls, rows: Iterable[ObjectRow]) -> "ObjectCounts":
        counts = cls()
        for row in rows:
            counts.add(row)
        return counts

    def add(self, row: ObjectRow) -> None:
        self.images[len(row.objects)] += 1
        self.classes.update(instance.category for instance in row.objects)
        self.scores.update(round(instance.score, 2) for instance in row.objects)
        if not row.objects:
            reason = row.reason.replace(row.file_name, "…") if row.file_name else row.reason
            self.reasons[_SPECIFIC.sub("…", reason.split(";")[0])] += 1

    def table(self) -> Table:
        """Everything as lines of a name and a number."""
        table = Table("", "", show_header=False, box=None, pad_edge=False)
        table.columns[1].justify = "right"
        total, none, single = self.images.total(), self.images[0], self.images[1]
        _section(table, "images", total)
        _line(table, "with one object", single, total)
        _line(table, "with several", total - none - single, total)
        _line(table, "with none", none, total)
        for reason, count in _top(self.reasons, MOST_REASONS, "other reasons"):
            _line(table, f"  {reason}", count, total)
        objects = self.classes.total()
        _section(table, "objects", objects)
        for category, count in _top(self.classes, MOST_CLASSES, "other classes"):
            _line(table, category, count, objects)
        if len(self.scores) > 1:  # labels mostly have none, which counts as 1
            _section(table, "scores")
            for share, name in _SHARES.items():
                table.add_row(f"  {name}", f"{self.quantile(share):.2f}")
        return table

    def quantile(self, share: float) -> float:
        """The score that this share of the objects is below or at; the lowest score for 0."""
        ordered = sorted(self.scores)
        up_to = np.cumsum([self.scores[score] for score in ordered])
        return ordered[int(np.searchsorted(up_to, share * up_to[-1]))]


def show_objects(inputs: Inputs, count: int = 0) -> None:
    """Print what stage 1 has found, and draw `count` images as `out/objects_sheet.png`.

    Raises:
        StoreError: the stage isn't finished.
    """
    folder, sheet = inputs.out / FOLDER, inputs.out / SHEET
    if show(folder).classes and count:
        draw(folder, inputs.need("images"), count, sheet)
        Console().print(f"Look at {sheet}", soft_wrap=True)


def show(objects_dir: Path) -> ObjectCounts:
    """Print the counts, with a warning where most images have no object.

    Raises:
        StoreError: the stage isn't there, or isn't finished.
    """
    counts = ObjectCounts.count(read_rows(objects_dir, ObjectRow))
    Console().print(counts.table())
    total, none = counts.images.total(), counts.images[0]
    if 2 * none > total:
        _log.warning(
            "%d of %d images have no object: see above why. Are the classes' names those that the model "
            "or the labels use? Is --objects.min-score right?",
            none,
            total,
        )
    return counts


def draw(objects_dir: Path, images_dir: Path, count: int, path: Path) -> None:
    """Write a sheet of `count` images with objects, drawn at random (the same every time).

    Raises:
        StoreError: the stage isn't there, or isn't finished.
        ValueError: no image has objects.
        InputError: an image can't be read any more.
    """
    usable = (row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok")
    chosen = heapq.nsmallest(count, usable, key=_chance)
    buffer = io.BytesIO()
    objects_sheet(chosen, images_dir).save(buffer, "PNG")
    replace_file(path, buffer.getvalue())


def _chance(row: ObjectRow) -> bytes:
    return hashlib.blake2b(row.image_id.encode(), digest_size=8).digest()


def _top(counts: Counter[str], most: int, others: str) -> list[tuple[str, int]]:
    """The most frequent, equals by name, and what the rest amounts to."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = ordered[most:]
    left = [(f"{len(rest)} {others}", sum(count for _, count in rest))] if rest else []
    return [*ordered[:most], *left]


def _section(table: Table, name: str, count: int | None = None) -> None:
    table.add_row(name, "" if count is None else f"{count:,}", style="bold")


def _line(table: Table, name: str, count: int, total: int) -> None:
    table.add_row(f"  {name}", f"{count:,}  {count / max(1, total):4.0%}")
