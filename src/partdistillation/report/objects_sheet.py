"""A sheet of images with the objects that stage 1 found in them, numbered, with their classes and scores."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from partdistillation.data.images import load_image_of
from partdistillation.functional.masks import EncodedMasks, decode, pairwise_iou
from partdistillation.functional.metrics import label_map
from partdistillation.pictures.colors import color_of
from partdistillation.pictures.legends import LegendRow, with_legend
from partdistillation.pictures.overlays import overlay
from partdistillation.pictures.sheets import contact_sheet
from partdistillation.pictures.sizes import resized
from partdistillation.pictures.text import caption_font
from partdistillation.runs.records import ObjectRow

SIDE = 420
"""Of a cell's picture: the longer side of an image on the sheet, in pixels."""
GAP = 12
_LONGEST_NAME = 52


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
        for place, instance in enumerate(row.objects)
    )
    return with_legend(picture, [LegendRow(_shortened(row.file_name), ()), LegendRow("", entries)])


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
        draw.text((int(x), int(y)), str(number), fill=ink, font=font, anchor="mm")
    return picture


def _shortened(name: str) -> str:
    """A long name without its middle."""
    half = _LONGEST_NAME // 2 - 1
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"
