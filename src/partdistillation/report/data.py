"""What a report shows. All texts are plain text: they are escaped where they enter the page."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from partdistillation.pictures.colors import color_of
from partdistillation.pictures.curves import Chart
from partdistillation.pictures.webp import webp

_QUALITY = 82

Pixels = UInt8[np.ndarray, "height width 3"]


class Picture(NamedTuple):
    """A picture as it is written, and its size in pixels; many are held at once, so they are encoded."""

    webp: bytes
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Pixels) -> "Picture":
        """Encode an image; the same pixels give the same bytes."""
        return cls(webp(pixels, quality=_QUALITY), pixels.shape[1], pixels.shape[0])


class Score(NamedTuple):
    """A number with the interval that it lies in; NaN where that isn't known."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def beside(self, other: "Score", margin: float = 0.0) -> Literal["above", "tie", "below", ""]:
        """Where it lies beside another (plus a margin): a tie where intervals overlap, "" if unknown."""
        if self.low > other.high + margin:
            return "above"
        if self.high < other.low + margin:
            return "below"
        return "tie" if self.low <= other.high + margin else ""


class Headline(NamedTuple):
    """A large number at the top: `value` as it is to be read, for example "41.2"."""

    label: str
    value: str
    note: str = ""
    verdict: str = ""
    """How it compares with the first one, for example "tie with the part model"."""


class StageSummary(NamedTuple):
    """A stage that ran: what it made and how long it took."""

    name: str
    made: str
    seconds: float


Value = float | str | Score | None


class TableRow(NamedTuple):
    """A row of a table; None or NaN = not measured. Controls and baselines are set apart from our results."""

    label: str
    values: tuple[Value, ...]
    kind: Literal["result", "control", "baseline"] = "result"


class Table(NamedTuple):
    """A table; `columns` are the headers of the values (the labels' header is `label`)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    label: str = ""
    note: str = ""
    better: Literal["high", "none"] = "none"
    """Whether to mark the best number of a column and what ties with it, and to draw bars."""


class Key(NamedTuple):
    """An entry of a legend: what has which colour."""

    name: str
    color: tuple[int, int, int]

    @classmethod
    def of_part(cls, name: str, part: int) -> "Key":
        """A part class has the colour of its number, here as in every picture."""
        red, green, blue = color_of(part).tolist()
        return cls(name, (red, green, blue))


class Panel(NamedTuple):
    """A picture and what it is."""

    caption: str
    picture: Picture


class PictureRow(NamedTuple):
    """Panels of one image, the image itself first, and which part has which colour."""

    title: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...] = ()


class PartGallery(NamedTuple):
    """A discovered part class: examples with the part in the colour of its number."""

    key: Key
    tiles: tuple[Picture, ...]
    note: str = ""
    """For example how many there are, or the true part it was mapped to."""


class ClassGallery(NamedTuple):
    """An object class: objects with all their parts in colour, and its part classes."""

    category: str
    parts: tuple[PartGallery, ...]
    objects: tuple[Picture, ...] = ()


class Step(NamedTuple):
    """What to do next, and by which command."""

    title: str
    command: str
    note: str = ""


class ReportData(NamedTuple):
    """A whole report. Empty parts are left out of the page."""

    title: str
    finding: str = ""
    """What was found, in a line; the page's headline."""
    summary: str = ""
    hero: PictureRow | None = None
    """An image and its parts, for the first screen."""
    facts: tuple[tuple[str, str], ...] = ()
    """What ran, on what: (name, value), for example ("torch", "2.13.0")."""
    headlines: tuple[Headline, ...] = ()
    headlines_note: str = ""
    stages: tuple[StageSummary, ...] = ()
    tables: tuple[Table, ...] = ()
    """What was measured."""
    left_out: tuple[Table, ...] = ()
    """What was not used, and why."""
    charts: tuple[Chart, ...] = ()
    pictures: tuple[PictureRow, ...] = ()
    galleries: tuple[ClassGallery, ...] = ()
    galleries_note: str = ""
    """How the pictures were chosen, and what there is no gallery of."""
    steps: tuple[Step, ...] = ()
    config: str = ""
    """The resolved settings, as YAML."""
