"""Damage that decodes without an error is found; whole files have none."""

from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.damage import damage_of

JPEGS: list[dict[str, object]] = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"subsampling": 1},
    {"quality": 30, "restart_marker_blocks": 4},
    {"quality": 100, "optimize": True},
]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_whole_jpegs_have_none_and_cut_ones_have(
    image_files: ModuleType, mode: str, options: dict[str, object]
) -> None:
    if mode == "CMYK":
        options = {**options, "subsampling": 0}  # others aren't known to the checking libjpeg
    data = image_files.saved(image_files.photograph().convert(mode), "JPEG", **options)
    assert damage_of(data) == ""
    for share in (0.4, 0.6, 0.9):
        assert "premature end" in damage_of(image_files.cut_with_end(data, share))


def test_a_missing_end_and_bytes_between_segments(image_files: ModuleType) -> None:
    data = image_files.saved(image_files.photograph(), "JPEG")
    assert "Premature end" in damage_of(data[:-2])
    assert "extraneous bytes" in damage_of(data[:-2] + b"abc" + data[-2:])
    # What stands behind the image isn't the image's: phones append films there.
    assert damage_of(data + b"abc" * 1000) == ""


def test_a_restart_marker_out_of_order(image_files: ModuleType) -> None:
    data = image_files.saved(image_files.photograph(), "JPEG", restart_marker_blocks=2)
    place = data.index(b"\xff\xd1", data.index(b"\xff\xda"))
    assert damage_of(data[: place + 1] + b"\xd5" + data[place + 2 :])


def test_a_wrong_checksum_of_a_png(image_files: ModuleType) -> None:
    data = image_files.saved(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)), "PNG"
    )
    assert damage_of(data) == ""
    place = data.index(b"IDAT") + 30
    assert "checksum" in damage_of(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_a_jpeg_inside_a_tiff(image_files: ModuleType) -> None:
    data = image_files.saved(image_files.photograph(300, 300), "TIFF", compression="jpeg")
    assert damage_of(data) == ""
    place = data.index(b"\xff\xda") + 500
    assert "premature end" in damage_of(data[:place] + b"\xff\xd9" + data[place + 2 :])


def test_formats_without_checksums_have_none(image_files: ModuleType) -> None:
    for kind in ("BMP", "TIFF", "WEBP"):
        assert damage_of(image_files.saved(image_files.photograph(), kind)) == ""
    assert damage_of(b"") == ""
