"""Images and label maps at other sizes, as promised; on contact sheets every picture in its place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partdistillation.pictures.sizes import (
    contact_sheet,
    enlarge,
    enlarge_labels,
    fit,
    framed,
    resize_labels,
    shrink,
)


def test_enlarge_keeps_proportions_and_never_shrinks() -> None:
    small, large = np.zeros((48, 96, 3), dtype=np.uint8), np.zeros((400, 500, 3), dtype=np.uint8)
    assert enlarge(small, 384).shape == (384, 768, 3)
    assert enlarge(large, 384) is large
    assert shrink(large, 250).shape == (200, 250, 3)
    assert shrink(large, 500) is large
    assert fit(small, 120).shape == (60, 120, 3)
    assert fit(large, 250).shape == (200, 250, 3)


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
def test_a_frame_holds_the_mask_and_fits(height: int, width: int, data: st.DataObject) -> None:
    mask = np.zeros((height, width), dtype=bool)
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    rows, columns = framed(mask)
    assert mask[rows, columns].sum() == mask.sum()
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


def test_a_frame_is_as_high_or_wide_as_its_mask_and_whole_for_an_empty_one() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[40:60, 30:60] = True
    assert framed(mask, margin=0.1) == (slice(37, 63), slice(27, 63))
    assert framed(mask.T, margin=0.1) == (slice(27, 63), slice(37, 63))
    assert framed(mask[:5]) == (slice(0, 5), slice(0, 100))
    mask[:] = False
    mask[50:52, 20:80] = True  # thin: half as high as wide
    assert framed(mask, margin=0.1) == (slice(33, 69), slice(14, 86))


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


def picture(width: int, height: int, color: str = "red") -> Image.Image:
    return Image.new("RGB", (width, height), color)


def test_pictures_stand_in_rows_of_one_height_and_columns_of_one_width() -> None:
    sheet = contact_sheet(
        [picture(30, 20), picture(20, 50), picture(10, 10, "blue")], columns=2, gap=4, margin=3
    )
    assert sheet.size == (2 * 30 + 4 + 2 * 3, 50 + 10 + 4 + 2 * 3)
    at = {place: sheet.getpixel(place) for place in ((3, 3), (2, 3), (37, 52), (3, 57), (13, 57), (40, 60))}
    red, blue, white = (255, 0, 0), (0, 0, 255), (255, 255, 255)
    assert list(at.values()) == [red, white, red, blue, white, white]


def test_a_row_that_is_not_full_keeps_its_empty_places() -> None:
    assert contact_sheet([picture(10, 10)], columns=3, gap=2).size == (34, 10)


def test_thin_images_are_enlarged_within_bounds() -> None:
    for shape, enlarged in {(3, 400): (14, 1920), (4, 1500): (5, 1920), (1500, 4): (1920, 5)}.items():
        assert enlarge(np.zeros((*shape, 3), np.uint8), 480).shape[:2] == enlarged
        assert enlarge_labels(np.zeros(shape, np.int64), 480).shape == enlarged
    # Four times as long as high is no thin photograph.
    assert enlarge(np.zeros((100, 400, 3), np.uint8), 480).shape[:2] == (480, 1920)


def test_images_longer_than_a_picture_are_made_smaller() -> None:
    labels = np.ones((2, 65_536), np.int64)
    assert enlarge(np.zeros((2, 65_536, 3), np.uint8), 480).shape == (1, 16_384, 3)
    assert enlarge_labels(labels, 480).shape == (1, 16_384)
    assert enlarge_labels(labels, 480).all()
