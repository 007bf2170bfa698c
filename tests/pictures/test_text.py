"""Text in pictures fits, and is printable."""

from partdistillation.pictures.text import caption_font, fitted, note_picture


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
