"""Resizing, and the augmentation of training: large-scale jitter, crop and flip on a square canvas.

What an augmentation does is drawn first, as the plain numbers of an `Augmentation`, from a generator
keyed by (seed, step, sample): it depends on nothing that ran before, so a resumed training sees the
same images. Only then are pixels touched, and of the resized image only the crop is ever computed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

PADDING = 128
"""Grey value of the canvas beside the image."""


@dataclass(frozen=True)
class Augmentation:
    """Resize the image to `height` x `width`, cut `size` x `size` at (`top`, `left`), maybe mirror the cut.

    All in pixels. A cut that reaches over the resized image's end is padded at the bottom and the right,
    after mirroring: the image's content always touches the canvas' top left corner.
    """

    height: int
    width: int
    top: int
    left: int
    flip: bool
    size: int

    @property
    def content(self) -> tuple[int, int]:
        """(height, width) of the canvas' top left part that the image fills; the rest is padding."""
        return min(self.size, self.height - self.top), min(self.size, self.width - self.left)


class Augmented(NamedTuple):
    """The canvas. A mask that lies outside the crop has area 0; its caller drops it."""

    image: UInt8[np.ndarray, "size size 3"]
    masks: Bool[np.ndarray, "mask size size"]
    areas: Int[np.ndarray, "mask"]


def augmentation_rng(seed: int, step: int, sample: int) -> np.random.Generator:
    """The generator of one sample's augmentation at one step; each argument in 0..2**64 - 1.

    Philox is keyed by (seed, step); the sample is the highest word of its counter, so that no two
    samples' streams overlap.
    """
    counter = np.array([0, 0, 0, sample], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64), counter=counter))


def draw_augmentation(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    size: int,
    scale_min: float,
    scale_max: float,
    flip: float,
) -> Augmentation:
    """Draw a large-scale jitter (Ghiasi et al. 2021) for an image of `height` x `width` pixels.

    The image's longest side becomes `size` times a factor uniform in [`scale_min`, `scale_max`], aspect
    ratio kept; the crop's offset is uniform where the image is larger than the canvas; `flip` is the
    probability of mirroring.
    """
    jitter, y, x, mirror = rng.random(4)
    longest = size * (scale_min + (scale_max - scale_min) * jitter)
    new_height, new_width = _scaled(height, width, longest)
    return Augmentation(
        height=new_height,
        width=new_width,
        top=int(y * (max(new_height - size, 0) + 1)),
        left=int(x * (max(new_width - size, 0) + 1)),
        flip=bool(mirror < flip),
        size=size,
    )


def augment(
    image: UInt8[np.ndarray, "height width 3"],
    masks: Bool[np.ndarray, "mask height width"],
    augmentation: Augmentation,
) -> Augmented:
    """Apply the same augmentation to an image (antialiased bilinear) and its masks (nearest)."""
    height, width = augmentation.content
    canvas = np.full((augmentation.size, augmentation.size, 3), PADDING, np.uint8)
    content = _crop_image(image, augmentation)
    canvas[:height, :width] = content[:, ::-1] if augmentation.flip else content

    rows = _nearest(image.shape[0], augmentation.height, augmentation.top, height)
    columns = _nearest(image.shape[1], augmentation.width, augmentation.left, width)
    columns = columns[::-1] if augmentation.flip else columns
    out = np.zeros((len(masks), augmentation.size, augmentation.size), np.bool_)
    # Rows first: they are contiguous, and the columns are then gathered from what is left.
    out[:, :height, :width] = np.take(np.take(masks, rows, axis=1), columns, axis=2)
    return Augmented(canvas, out, np.count_nonzero(out, axis=(1, 2)))


def resize_longest(image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "h w 3"]:
    """Resize so that the longest side has `size` pixels, up or down, aspect ratio kept (bilinear)."""
    height, width = _scaled(image.shape[0], image.shape[1], size)
    if (height, width) == image.shape[:2]:
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _scaled(height: int, width: int, longest: float) -> tuple[int, int]:
    scale = longest / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def _crop_image(
    image: UInt8[np.ndarray, "height width 3"], augmentation: Augmentation
) -> UInt8[np.ndarray, "h w 3"]:
    """The crop of the resized image, without resizing the rest."""
    height, width = augmentation.content
    y, x = image.shape[0] / augmentation.height, image.shape[1] / augmentation.width
    top, left = augmentation.top * y, augmentation.left * x
    # Rounding may push the last edge beyond the image by one bit, which Pillow refuses.
    bottom = min(top + height * y, image.shape[0])
    right = min(left + width * x, image.shape[1])
    resized = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return np.asarray(resized)


def _nearest(source: int, target: int, start: int, length: int) -> Int[np.ndarray, "length"]:
    """For pixels start..start + length - 1 of `target`, the source pixel under each one's centre."""
    # (i + 1/2) * source / target, floored, in integers: exact at any size.
    return (2 * np.arange(start, start + length) + 1) * source // (2 * target)
