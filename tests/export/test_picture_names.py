"""Every photograph has a picture of its own, called as it is."""

from hypothesis import given
from hypothesis import strategies as st

from partdistillation.export.picture_names import picture_names


def test_pictures_have_their_photographs_names() -> None:
    assert picture_names(["a.png", "b.jpg", "x/a.png", "y/a.jpg", "c.d.JPG", "plain"]) == [
        "a.png", "b.png", "x/a.png", "y/a.png", "c.d.png", "plain.png",
    ]  # fmt: skip
    assert picture_names(["a.png", "a.jpg", "x/a.jpg"]) == ["a.png.png", "a.jpg.png", "x/a.png"]
    assert picture_names([]) == []
    longest = [f"x/{'a' * 251}.jpg", f"x/{'a' * 251}.png"]
    short = picture_names(longest)
    assert all(len(name.removeprefix("x/").encode()) <= 255 for name in short)
    assert len(set(short)) == 2


@given(st.lists(st.sampled_from(["a", "b", "x/a"]).flatmap(
    lambda stem: st.lists(st.sampled_from([".png", ".jpg", ".PNG"]), max_size=3).map(
        lambda suffixes: stem + "".join(suffixes)
    )
), unique=True))  # fmt: skip
def test_no_two_photographs_share_a_picture(file_names: list[str]) -> None:
    assert len(set(picture_names(file_names))) == len(file_names)
