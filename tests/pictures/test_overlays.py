"""Pictures: colours where they belong, sizes as promised, the same bytes every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.pictures.overlays import (
    PALETTE,
    caption_font,
    contact_sheet,
    enlarge,
    enlarge_labels,
    fitted,
    note_picture,
    overlay,
    resize_labels,
    shrink,
    side_by_side,
    spotlight,
    square_crop,
)

# Machado, Oliveira and Fernandes (2009), severity 1: what linear RGB becomes for color-blind people.
COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_the_first_eight_colors_can_be_told_apart(vision: str) -> None:
    linear = np.where(PALETTE[:8] <= 10, PALETTE[:8] / 3294.6, ((PALETTE[:8] / 255 + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(COLOR_VISION[vision]).T, 0, 1)
    xyz = seen @ np.array([[0.4339, 0.3762, 0.1899], [0.2127, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]]).T
    f = np.cbrt(xyz)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(8, 1)]
    assert distances.min() > 15  # CIE76; below about 2.3 a difference isn't noticed


def test_palette_is_24_different_colors() -> None:
    assert len({tuple(color) for color in PALETTE.tolist()}) == len(PALETTE) == 24


def test_overlay_colors_labels_and_leaves_the_background() -> None:
    image = np.full((6, 8, 3), 100, dtype=np.uint8)
    labels = np.zeros((6, 8), dtype=int)
    labels[:, :4], labels[0, 6] = 1, 25
    shown = overlay(image, labels, alpha=1.0, contours=0)
    assert (shown[:, :4] == PALETTE[0]).all()
    assert (shown[0, 6] == PALETTE[0]).all()  # 24 colors on
    assert (shown[1:, 4:] == 100).all()
    lines = overlay(image, labels, alpha=1.0)
    assert (lines[1:, 4] > 200).all()
    assert (lines[:, :4] == PALETTE[0]).all()


def test_overlay_of_nothing_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(overlay(image, np.zeros((5, 7), dtype=int), contours=3), image)


def test_spotlight_keeps_the_mask_and_greys_the_rest() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:5] = True
    around = np.zeros((5, 7), dtype=bool)
    around[:4, 1:] = True
    lit = spotlight(image, mask, around, PALETTE[1])
    inside = mask & ~np.isin(lit, PALETTE[1]).all(axis=2)
    assert np.abs(lit[inside].astype(int) - 0.85 * image[inside] - 0.15 * PALETTE[1]).max() <= 1
    assert (lit[1, 2] == PALETTE[1]).all()
    rest = lit[~around].astype(int)
    assert (rest == rest[:, :1]).all()
    assert rest.max() < 0.33 * 255


def test_enlarge_keeps_proportions_and_never_shrinks() -> None:
    small, large = np.zeros((48, 96, 3), dtype=np.uint8), np.zeros((400, 500, 3), dtype=np.uint8)
    assert enlarge(small, 384).shape == (384, 768, 3)
    assert enlarge(large, 384) is large
    assert shrink(large, 250).shape == (200, 250, 3)
    assert shrink(large, 500) is large


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_enlarged_labels_are_old_labels(height: int, width: int, side: int, seed: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 3, 70000], (height, width))
    enlarged = enlarge_labels(labels, side)
    assert enlarged.shape == enlarge(np.zeros((height, width, 3), np.uint8), side).shape[:2]
    assert np.isin(enlarged, labels).all()


def test_enlarged_labels_stay_in_place() -> None:
    labels = np.kron([[1, 0], [0, 2]], np.ones((8, 8), dtype=int))
    enlarged = enlarge_labels(labels, 64)
    assert (enlarged == np.kron(labels, np.ones((4, 4), dtype=int))).mean() > 0.99


@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_square_crop_holds_the_mask_and_fits(height: int, width: int, data: st.DataObject) -> None:
    mask = np.zeros((height, width), dtype=bool)
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    rows, columns = square_crop(mask)
    assert mask[rows, columns].sum() == mask.sum()
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


def test_square_crop_is_square_inside_a_large_image_and_whole_for_an_empty_mask() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[40:50, 30:60] = True
    rows, columns = square_crop(mask, margin=0.1)
    assert (rows, columns) == (slice(27, 63), slice(27, 63))
    assert square_crop(mask[:5]) == (slice(0, 5), slice(0, 100))


def test_rows_and_sheets_have_the_expected_size_and_are_deterministic() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    row = side_by_side([image, image], ["image", "parts"], height=96, gap=8)
    assert row.size == (2 * 192 + 3 * 8, 96 + 16 + 22)
    assert row.tobytes() == side_by_side([image, image], ["image", "parts"], height=96, gap=8).tobytes()
    sheet = contact_sheet([image] * 4, columns=3, side=60, gap=4)
    assert sheet.size == (3 * 64 - 4, 2 * 64 - 4)
    assert sheet.getpixel((64 + 30, 64 + 30)) == (255, 255, 255)  # an empty cell
    clear = contact_sheet([image] * 4, columns=3, side=60, gap=4, background=None)
    assert clear.getpixel((64 + 30, 64 + 30)) == (0, 0, 0, 0)
    assert clear.convert("RGB").getpixel((30, 30)) == sheet.getpixel((30, 30))
    with pytest.raises(ValueError, match="zip"):
        side_by_side([image], ["one", "two"])


def test_texts_are_shortened_to_fit() -> None:
    font = caption_font(14)
    assert fitted("car", font, 200) == "car"
    short = fitted("a very long name of an object class", font, 100)
    assert short.endswith("…")
    assert font.getlength(short) <= 100 < font.getlength(f"{short[:-1]}mm…")
    assert fitted("x" * 10**6, font, 100).count("x") > 5
    assert fitted("line\nbreak\x00\u202e", font, 200) == "line break"
    assert fitted("", font, 100) == ""


def test_a_note_is_written_on_grey() -> None:
    picture = note_picture("image is gone", 120, 80)
    assert picture.shape == (80, 120, 3)
    assert (picture[:10] == (0xC9, 0xCD, 0xD3)).all()
    assert (picture.max(axis=2) < 100).any()


def test_label_maps_of_another_size_keep_their_labels() -> None:
    labels = np.zeros((20, 30), np.int64)
    labels[:, 15:] = 30
    labels[:5] = 7
    for height, width in ((60, 90), (10, 15), (20, 30)):
        resized = resize_labels(labels, height, width)
        assert set(np.unique(resized)) == {0, 7, 30}
        assert resized[height // 2, width // 4] == 0
        assert resized[height // 2, 3 * width // 4] == 30
        assert resized[height // 10, width // 2] == 7
