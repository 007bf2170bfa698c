"""Image files that other programs have damaged, and some that were made to cost much."""

import io
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partdistillation.data.decoding import decode
from partdistillation.errors import InputError

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.fuzz.conftest import Probe

MOST_SECONDS = 3 * (5 + 64 / 4)
"""Of processors: an image is read in three ways, each in at most 5 seconds and one for 4 megapixels."""
MOST_MEGABYTES = 1300
"""Of the process that decodes: 1100, and what Python and NumPy take."""

QUICK = {
    "10,000 scans": "InputError",
    "a tile of 60,000 x 60,000": "InputError",
    "strips of a pixel": "InputError",
    "60,000 tags of 4 MB": "",
    "500 MB of text": "InputError",
    "300,000 chunks": "",
    "300,000 comments": "",
    "a megabyte of filling": "",
    "a PNG that says 2^31": "InputError",
    "108 megapixels": "",
}
LONG = {
    "40 scans": "InputError",
    "tiles of a pixel": "InputError",
    "runs of a pixel": "",
    "64 megapixels, clear PNG": "",
    "64 megapixels, clear TIFF": "",
    "64 megapixels, clear WebP": "",
    "200 megapixels": "",
    "200 megapixels, progressive": "",
}


@pytest.mark.timeout(0)
def test_changed_files(probe: "Probe") -> None:
    limits = {"seconds": 20, "megabytes": 300, "child_megabytes": MOST_MEGABYTES}
    assert [outcome for outcome in probe.changed(100) if outcome.fails("InputError", **limits)] == []


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.long) for case in LONG)])
def test_costly_files(probe: "Probe", case: str) -> None:
    (outcome,) = probe.run([case])
    assert outcome.outcome == (QUICK | LONG)[case]
    assert not outcome.fails(
        "InputError", seconds=MOST_SECONDS, megabytes=700, child_megabytes=MOST_MEGABYTES
    )


def decoded(data: bytes) -> np.ndarray | None:
    try:
        return decode(data, Path("photo"), "rgb", strict=True)
    except InputError:
        return None


@settings(deadline=None)
@given(st.data())
def test_a_cut_file_is_refused_or_whole(image_files: ModuleType, data: st.DataObject) -> None:
    """With a JPEG's end marker behind it or not: never half a photograph."""
    photo = image_files.photograph(40, 50, seed=data.draw(st.integers(0, 3)))
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]))
    options = data.draw(st.sampled_from([{}, {"quality": 30}, {"subsampling": 0}])) if kind == "JPEG" else {}
    content = image_files.saved(photo, kind, **options)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    # Other formats would take the two bytes for pixels, which none of them can tell.
    for ending in (b"", image_files.END_OF_IMAGE) if kind == "JPEG" else (b"",):
        pixels = decoded(cut + ending)
        assert pixels is None or np.array_equal(pixels, np.asarray(decoded(content)))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_of_a_png_is_noticed(image_files: ModuleType, place: int, bit: int) -> None:
    content = image_files.saved(image_files.photograph(40, 50), "PNG")
    start = content.index(b"IDAT")
    changed = bytearray(content)
    changed[start + place % (len(content) - 12 - start)] ^= 1 << bit
    pixels = decoded(bytes(changed))
    with Image.open(io.BytesIO(content)) as image:
        assert pixels is None or np.array_equal(pixels, np.asarray(image))
