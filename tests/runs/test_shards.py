from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.errors import StoreError
from partdistillation.runs.shards import ImageRef, Shard, make_shards


@dataclass(frozen=True)
class Photo:
    image_id: str
    category: str


def photos(*categories: str) -> list[Photo]:
    return [Photo(str(number), category) for number, category in enumerate(categories)]


def test_inputs_are_cut_in_order() -> None:
    shards = make_shards(photos(*"aaaaa"), size=2)
    assert [shard.name for shard in shards] == ["images-00000", "images-00001", "images-00002"]
    assert [item.image_id for shard in shards for item in shard.inputs] == list("01234")


def test_no_shard_holds_two_classes() -> None:
    shards = make_shards(photos("dog", "car", "dog", "dog", "car"), size=2, by=lambda photo: photo.category)
    assert [(s.name, [p.image_id for p in s.inputs]) for s in shards] == [
        ("car-00000", ["1", "4"]),
        ("dog-00000", ["0", "2"]),
        ("dog-00001", ["3"]),
    ]


@given(st.sets(st.text(min_size=1), min_size=1, max_size=20))
def test_every_class_name_gives_a_safe_file_name_of_its_own(categories: set[str]) -> None:
    shards = make_shards(photos(*sorted(categories)), by=lambda photo: photo.category)
    assert len({shard.name.lower() for shard in shards}) == len(categories)


def test_a_class_name_that_is_no_file_name_is_told_apart_by_a_hash() -> None:
    shards = make_shards(photos("a/b", "a_b", "A_b", ""), by=lambda photo: photo.category)
    assert [shard.name for shard in shards] == [
        "class.e3b0c442-00000",
        "a_b.08eb65ad-00000",
        "a_b.c14cddc0-00000",
        "a_b-00000",
    ]


def test_the_same_image_twice_is_refused() -> None:
    with pytest.raises(StoreError, match=r"different image id for every input, found 'a' 2 times"):
        make_shards([ImageRef("a"), ImageRef("b"), ImageRef("a")])


def test_no_images_are_refused() -> None:
    with pytest.raises(StoreError, match=r"at least one image, found none"):
        make_shards([])


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "a/b"])
def test_a_shard_name_that_is_no_plain_file_name_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match=r"shard name"):
        Shard(name, (ImageRef("a"),))


def test_an_empty_shard_is_refused() -> None:
    with pytest.raises(StoreError, match=r"at least one input in shard 'a'"):
        Shard[ImageRef]("a", ())
