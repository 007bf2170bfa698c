"""The groupings of pixels in a stage's folder: a run's one, or all those that a validation compares."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from partdistillation.config import SegmentsConfig
from partdistillation.errors import ConfigError
from partdistillation.runs.manifest import load
from partdistillation.runs.records import SegmentRow
from partdistillation.runs.store import read_rows


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
