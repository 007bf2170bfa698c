"""What stage 1 found, to be looked at before hours are spent on it: counts, and a sheet of pictures."""

import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from partdistillation.config import Inputs
from partdistillation.report.objects_sheet import objects_sheet
from partdistillation.report.reasons import Causes, advice, first_reason, left_out, top
from partdistillation.runs import manifest
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

_log = logging.getLogger(__name__)


@dataclass
class ObjectCounts:
    """Counts over the rows of stage 1."""

    images: Counter[int] = field(default_factory=Counter)
    """By how many objects they have."""
    classes: Counter[str] = field(default_factory=Counter)
    """Objects by class."""
    reasons: Causes = field(default_factory=Causes)
    """Why images have no objects."""
    left_out: Causes = field(default_factory=Causes)
    """Why objects were left out of images that have others."""
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
        if row.objects:
            for note, count in left_out(row.reason):
                self.left_out.add(note, row.file_name, count)
        else:
            reason, essence = first_reason(row.reason)
            self.reasons.add(reason, row.file_name, essence=essence)

    def table(self) -> Table:
        """Everything as lines of a name and a number."""
        table = Table("", "", show_header=False, box=None, pad_edge=False)
        table.columns[1].justify = "right"
        total, none, single = self.images.total(), self.images[0], self.images[1]
        _section(table, "images", total)
        _line(table, "with one object", single, total)
        _line(table, "with several", total - none - single, total)
        _line(table, "with none", none, total)
        for reason, count in self.reasons.top(MOST_REASONS):
            _line(table, f"  {reason}", count, total)
        objects = self.classes.total()
        _section(table, "objects", objects)
        for category, count in top(self.classes, MOST_CLASSES, "other classes"):
            _line(table, category, count, objects)
        if self.left_out:
            _section(table, "left out of images with objects", self.left_out.counts.total())
            for reason, count in self.left_out.top(MOST_REASONS):
                table.add_row(f"  {reason}", f"{count:,}")
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
            "%d of %d images have no object: see above why. %s",
            none,
            total,
            advice(counts.reasons, manifest.load(objects_dir).settings.get("source")),
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
    objects_sheet(chosen, images_dir).save(path)


def _chance(row: ObjectRow) -> bytes:
    return hashlib.blake2b(row.image_id.encode(), digest_size=8).digest()


def _section(table: Table, name: str, count: int | None = None) -> None:
    table.add_row(name, "" if count is None else f"{count:,}", style="bold")


def _line(table: Table, name: str, count: int, total: int) -> None:
    table.add_row(f"  {name}", f"{count:,}  {count / max(1, total):4.0%}")
