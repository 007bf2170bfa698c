"""Contact sheets: every picture in its place, the same bytes every time."""

import numpy as np
from PIL import Image

from partdistillation.pictures.sheets import contact_sheet, fit_square


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


def test_between_pictures_it_may_be_transparent() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    white = contact_sheet([fit_square(image, 60)] * 4, columns=3, gap=4)
    clear = contact_sheet([fit_square(image, 60, None)] * 4, columns=3, gap=4, background=None)
    assert white.size == clear.size == (3 * 64 - 4, 2 * 64 - 4)
    assert white.getpixel((64 + 30, 64 + 30)) == (255, 255, 255)  # an empty place
    assert clear.getpixel((64 + 30, 64 + 30)) == (0, 0, 0, 0)
    assert clear.getpixel((30, 3)) == (0, 0, 0, 0)  # beside the image in its square
    assert clear.convert("RGB").getpixel((30, 30)) == white.getpixel((30, 30))


def test_an_image_is_fit_into_the_middle_of_a_square() -> None:
    square = np.asarray(fit_square(np.zeros((10, 20, 3), np.uint8), 40))
    assert square.shape == (40, 40, 3)
    assert (square[10:30] == 0).all()
    assert (square[:10] == 255).all()
    assert (square[30:] == 255).all()
