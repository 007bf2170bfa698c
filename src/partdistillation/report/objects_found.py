"""What stage 1 found, to be looked at before hours are spent on it: counts, and a sheet of pictures."""

import hashlib
import heapq
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw
from rich.table import Table
from scipy import ndimage

from partdistillation.config import Inputs
from partdistillation.data.images import load_image_of
from partdistillation.functional.masks import EncodedMasks, decode, pairwise_iou
from partdistillation.functional.metrics import label_map
from partdistillation.pictures.colors import color_of
from partdistillation.pictures.legends import LegendRow, with_legend
from partdistillation.pictures.overlays import overlay
from partdistillation.pictures.sizes import contact_sheet, resize_labels, resized
from partdistillation.pictures.text import caption_font
from partdistillation.report.reasons import Causes, advice, first_reason, left_out, top
from partdistillation.runs import manifest, terminal
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.console import PlainConsole, words
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages.objects import FOLDER

SHEET = "objects_sheet.png"
MOST_CLASSES, MOST_REASONS = 10, 3
SIDE = 420
"""Of a cell's picture: the longer side of an image on the sheet, in pixels."""
MOST_LISTED = 20
"""So many objects of an image stand below it."""
GAP = 12
_LONGEST_NAME = 52
_SHARES = {
    0.0: "lowest",
    0.25: "a quarter up to",
    0.5: "half up to",
    0.75: "three quarters up to",
    1.0: "highest",
}

_log = terminal.logger(__name__)


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
        terminal.say(f"Look at {sheet}")


def show(objects_dir: Path) -> ObjectCounts:
    """Print the counts, with a warning where most images have no object.

    Raises:
        StoreError: the stage isn't there, or isn't finished.
    """
    counts = ObjectCounts.count(read_rows(objects_dir, ObjectRow))
    PlainConsole().print(counts.table())
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
        InputError: an image can't be read any more, or has changed its size.
    """
    usable = (row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok")
    chosen = heapq.nsmallest(count, usable, key=_chance)
    buffer = io.BytesIO()
    objects_sheet(chosen, images_dir).save(buffer, "PNG")
    replace_file(path, buffer.getvalue())


def _chance(row: ObjectRow) -> bytes:
    return hashlib.blake2b(row.image_id.encode(), digest_size=8).digest()


def _section(table: Table, name: str, count: int | None = None) -> None:
    table.add_row(name, "" if count is None else f"{count:,}", style="bold")


def _line(table: Table, name: str, count: int, total: int) -> None:
    table.add_row(words(f"  {name}"), f"{count:,}  {count / max(1, total):4.0%}")


# ---------------------------------------------------------------------- the sheet


def objects_sheet(rows: Sequence[ObjectRow], images_dir: Path) -> Image.Image:
    """A cell an image, in a grid that is about square.

    Raises:
        ValueError: no rows.
        InputError: an image can't be read any more.
    """
    cells = [
        object_cell(load_image_of(images_dir / row.file_name, row.height, row.width), row) for row in rows
    ]
    return contact_sheet(cells, columns=math.ceil(math.sqrt(len(cells))), gap=GAP, margin=GAP)


def object_cell(image: UInt8[np.ndarray, "height width 3"], row: ObjectRow) -> Image.Image:
    """The image with its objects coloured and numbered, as wide as a cell; below, what they are."""
    scale = SIDE / max(row.height, row.width)
    width, height = max(1, round(scale * row.width)), max(1, round(scale * row.height))
    labels = _object_map(row, width, height)
    colored = overlay(resized(image, height, width), labels, alpha=0.5, contours=2)
    picture = Image.new("RGB", (SIDE, height), "#f0f1f3")
    picture.paste(_numbered(colored, labels), ((SIDE - width) // 2, 0))
    entries = tuple(
        (f"{place + 1} {instance.category} {instance.score:.2f}", color_of(place))
        for place, instance in enumerate(row.objects[:MOST_LISTED])
    )
    legend = [LegendRow(_shortened(row.file_name), ()), LegendRow("", entries)]
    if len(row.objects) > MOST_LISTED:
        legend.append(LegendRow(f"and {len(row.objects) - MOST_LISTED} more", ()))
    return with_legend(picture, legend)


def label_cell(
    image: UInt8[np.ndarray, "height width 3"], labels: Int[np.ndarray, "height width"], caption: str
) -> Image.Image:
    """The image with a label map in colours over it, as wide as a cell."""
    scale = SIDE / max(labels.shape)
    height, width = (max(1, round(scale * side)) for side in labels.shape)
    picture = Image.new("RGB", (SIDE, height), "#f0f1f3")
    colored = overlay(
        resized(image, height, width), resize_labels(labels, height, width), alpha=0.5, contours=2
    )
    picture.paste(Image.fromarray(colored), ((SIDE - width) // 2, 0))
    return with_legend(picture, [LegendRow(caption, ())])


def _object_map(row: ObjectRow, width: int, height: int) -> Int[np.ndarray, "{height} {width}"]:
    """The objects' numbers from 1, painted in `painting_order`."""
    order = painting_order(row)
    masks = np.zeros((len(order), height, width), np.bool_)
    for place, number in enumerate(order):
        mask = Image.fromarray(decode(row.objects[number].rle, row.height, row.width))
        masks[place] = np.asarray(mask.resize((width, height), Image.Resampling.NEAREST))
    return label_map(masks, order)


def painting_order(row: ObjectRow) -> list[int]:
    """The objects' places, first what is painted first: smaller ones over larger ones, to be seen.

    Of those that nearly coincide (IoU over a half) the best is seen.
    """
    encoded = EncodedMasks([instance.rle for instance in row.objects], row.height, row.width)
    same = pairwise_iou(encoded, encoded) > 0.5
    areas: list[int] = []
    for place, instance in enumerate(row.objects):
        areas.append(max([instance.area, *(areas[better] for better in range(place) if same[place, better])]))
    return sorted(range(len(areas)), key=lambda place: (-areas[place], -place))


def _numbered(
    image: UInt8[np.ndarray, "height width 3"], labels: Int[np.ndarray, "height width"]
) -> Image.Image:
    """Write each object's number on a disc of its colour, where most of it is around."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = caption_font(13)
    for number in np.unique(labels[labels > 0]).tolist():
        depth = ndimage.distance_transform_edt(np.pad(labels == number, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), labels.shape)
        red, green, blue = color_of(number - 1).tolist()
        ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
        draw.circle((int(x), int(y)), 10, fill=(red, green, blue), outline="white", width=2)
        font.write(draw, (int(x), int(y)), str(number), ink, "middle")
    return picture


def _shortened(name: str) -> str:
    """A long name without its middle."""
    half = _LONGEST_NAME // 2 - 1
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"
