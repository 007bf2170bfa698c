"""What other tools give for a mask becomes that mask, and what is ambiguous is refused."""

import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from partdistillation.errors import InputError
from partdistillation.functional.arrays import as_number
from partdistillation.functional.mask_gate import as_mask, as_masks, as_polygons
from partdistillation.functional.masks import EncodedMask, EncodedMasks, encode

SIZE = (6, 9)
MASK = np.zeros(SIZE, np.bool_)
MASK[1:5, 2:7] = True
RLE = coco.encode(np.asfortranarray(MASK.astype(np.uint8)))
CLOSED = Image.fromarray(MASK)
CLOSED.close()


def png(values: Any) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "png")
    return Image.open(file)


FORMS: dict[str, Any] = {
    "bool": MASK,
    "0 and 1": MASK.astype(np.uint8),
    "0 and 255": MASK.astype(np.uint8) * 255,
    "float": MASK.astype(np.float32),
    "half": MASK.astype(np.float16),
    "signed": MASK.astype(np.int64),
    "one of SAM's": MASK[None].astype(np.float32),
    "one channel": MASK[:, :, None],
    "read-only": np.broadcast_to(MASK, SIZE),
    "mirrored": MASK[:, ::-1][:, ::-1].copy()[::-1][::-1],
    "tensor": torch.from_numpy(MASK),
    "tensor with gradient": torch.from_numpy(MASK).float().requires_grad_(),
    "bfloat16": torch.from_numpy(MASK).bfloat16(),
    "lists": MASK.tolist(),
    "lists of 0 and 1": MASK.astype(int).tolist(),
    "lists of 0 and 255": (MASK * 255).tolist(),
    "rows": list(MASK),
    "Pillow 1": Image.fromarray(MASK),
    "Pillow 1, from a file": png(MASK.astype(np.uint8) * 255).convert("1"),
    "True as 255": (MASK * np.uint8(255)).view(np.bool_),
    "Pillow P, white first": png(MASK.astype(np.uint8) * 255).quantize(2),
    "Pillow P, greys": png(MASK.astype(np.uint8) * 255).convert("P"),
    "Pillow L": png(MASK.astype(np.uint8) * 255),
    "Pillow I;16": png(MASK.astype(np.uint16)),
    "run lengths": RLE,
    "run lengths as text": {"size": RLE["size"], "counts": RLE["counts"].decode()},
    "run lengths as a byte array": {"size": RLE["size"], "counts": bytearray(RLE["counts"])},
    "run lengths in tensors": {
        "size": torch.tensor(SIZE),
        "counts": torch.tensor([7 + 6, 4, 2, 4, 2, 4, 2, 4, 2, 4, 13]),
    },
    "plain run lengths": {"size": list(SIZE), "counts": [7 + 6, 4, 2, 4, 2, 4, 2, 4, 2, 4, 13]},
    "ours": EncodedMask(encode(MASK), *SIZE),
    "polygons": [[2, 1, 7, 1, 7, 5, 2, 5]],
    "a flat polygon": [2, 1, 7, 1, 7, 5, 2, 5],
    "points": [np.array([[2, 1], [7, 1], [7, 5], [2, 5]])],
}


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_of_a_mask(name: str) -> None:
    mask = as_mask(FORMS[name], SIZE)
    assert mask.dtype == np.bool_
    assert mask.tobytes() == MASK.tobytes(), "True is 1 in memory too"
    torch.from_numpy(mask)  # warns of what it can't share


def test_inputs_are_left_alone() -> None:
    given = MASK.astype(np.uint8) * 255
    as_mask(given)[:] = False
    assert given.sum() == 255 * MASK.sum()
    assert as_mask(MASK) is MASK, "nothing is copied without need"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "found nothing"),
        ("mask.png", "found a str"),
        (MASK * 0.5, r"such as 0\.5; say what is inside"),
        (np.where(MASK, np.nan, 0), "such as nan"),
        (MASK * 2, "such as 2"),
        (
            (MASK * 255).astype(np.uint8) - MASK.astype(np.uint8) * np.eye(*SIZE, dtype=np.uint8),
            "such as 254",
        ),
        ((MASK * 0.5).tolist(), r"such as 0\.5"),
        ((MASK[:3] * 0.5).tolist(), "zeros and ones"),
        (MASK[:3], r"size \(6, 9\) \(height, width\), found \(3, 9\)"),
        (MASK[:3].tolist(), r"found \(3, 9\)"),
        (np.zeros((*SIZE, 3), np.bool_), r"array of shape \(6, 9, 3\)"),
        (np.float32(1), r"shape \(\)"),
        ([], "shape"),
        ([[0, 1], [1]], "zeros and ones"),
        (MASK.astype(complex), "as numbers"),
        (Image.new("RGB", SIZE[::-1]), "of mode RGB"),
        (CLOSED, "can't be read"),
        ({"counts": [1]}, r"run-length encoding as .* keys \['counts'\]"),
        ({"size": [np.inf, 9], "counts": [27]}, "run-length encoding as"),
        ({"size": [3, 9], "counts": [27]}, r"found \(3, 9\)"),
        ({"size": list(SIZE), "counts": [3]}, "fill 6 x 9"),
        ([[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]], "multiply a polygon's"),
        (object(), "as numbers"),
    ],
)
def test_what_is_no_mask(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_mask(values, SIZE)


def test_a_claimed_size_takes_no_memory() -> None:
    with pytest.raises(InputError, match="at most 268435456 pixels"):
        as_mask({"size": [100_000, 100_000], "counts": [10**10]})


def test_rows_or_polygons() -> None:
    assert as_polygons([[0, 0, 255, 0, 255, 255, 0, 255]]) == [[0, 0, 255, 0, 255, 255, 0, 255]]
    assert as_polygons([[0, 255], [255, 0]]) is None
    assert as_polygons([[2, 5, 30, 5, 30, 30]], (1, 6)) is None
    with pytest.raises(InputError, match="such as 2, 5"):
        as_mask([[2, 5, 30, 5, 30, 30]], (1, 6))
    with pytest.raises(InputError, match="the size of the image"):
        as_mask([[2, 5, 30, 5, 30, 30]])


def test_masks_together() -> None:
    stack = np.stack([MASK, ~MASK])
    for masks in (
        stack,
        stack.astype(np.uint8) * 255,
        torch.from_numpy(stack).float(),
        [MASK.tolist(), ~MASK],
    ):
        np.testing.assert_array_equal(as_masks(masks), stack)
    encoded = EncodedMasks([encode(MASK)], *SIZE)
    assert as_masks(encoded) is encoded
    assert len(as_masks([])) == len(as_masks(np.zeros((0, *SIZE)))) == 0
    for wrong, message in (([MASK, MASK[:3]], "of one size"), (MASK, r"array \(6, 9\)"), (3, "found int")):
        with pytest.raises(InputError, match=message):
            as_masks(wrong)


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.float16(0.5), torch.tensor(0.5), Fraction(1, 2), np.array(0.5)]
)
def test_numbers_are_plain(value: Any) -> None:
    assert type(as_number(value, "a score")) is float
    assert as_number(value, "a score") == 0.5


@pytest.mark.parametrize("value", [None, "0.5", True, float("nan"), np.inf, 1j, [0.5], 10**400])
def test_other_things_are_no_numbers(value: Any) -> None:
    with pytest.raises(InputError, match="a score as a finite number"):
        as_number(value, "a score")
