"""The paper's choice of classes: what is left out, nested samples, inside and outside PartImageNet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from partdistillation.classes.choice import (
    EXCLUDED,
    PART_IMAGENET,
    SIDE,
    SIZES,
    Choice,
    all_kinds,
    choose,
    read_candidates,
    read_roots,
    roots_of,
)
from partdistillation.classes.wordnet import Synset, WordNet, read_wordnet
from partdistillation.errors import InputError

LEFT_OUT, INSIDE, ABOVE, LEAVES = 1, 2, 3, range(100, 1600)
PAPER = (
    "food, foodstuff, room, herb, tree, fungus, event, act, area, grass, geological formation, sauce, "
    "woody plant, structure, abstraction, casting, plant organ, mixed drink, plant part, body part, part, "
    "region, mechanism, fabric, material, vine, substance, beverage, attribute, natural phenomenon, meal, "
    "cosmetic, weed"
)
"""The supplement's list, under "Manual evaluation"."""


@pytest.fixture(scope="module")
def wordnet(small_wordnet: Path) -> WordNet:
    return read_wordnet(small_wordnet)


def ids(wordnet: WordNet, *senses: str) -> set[int]:
    return {wordnet.sense(sense).offset for sense in senses}


@pytest.fixture(scope="module")
def broad() -> WordNet:
    """0 is above all, 3 above 2; of 1500 classes 250 are below 1, 500 below 2, 250 below both, 3, or 0."""
    parents = [(LEFT_OUT,), (INSIDE,), (ABOVE,), (LEFT_OUT, INSIDE), (0,), (INSIDE,)]
    above = {0: (), LEFT_OUT: (0,), INSIDE: (ABOVE,), ABOVE: (0,)}
    above |= {leaf: parents[leaf % 6] for leaf in LEAVES}
    synsets = {each: Synset(each, (f"thing {each}",), "", up, False) for each, up in above.items()}
    return WordNet(synsets, {})


def chosen(wordnet: WordNet, seed: int = 0, without: int | None = None) -> Choice:
    return choose(wordnet, set(wordnet.synsets) - {without}, excluded=[LEFT_OUT], inside=[INSIDE], seed=seed)


def test_subtrees_are_left_out(broad: WordNet) -> None:
    remaining = chosen(broad).remaining
    assert remaining == (0, 2, 3, *(leaf for leaf in LEAVES if leaf % 6 not in (0, 3)))
    assert len(remaining) == 1003


def test_a_smaller_sample_is_the_start_of_a_larger(broad: WordNet) -> None:
    choice = chosen(broad)
    samples = {each.name: each.offsets for each in choice.samples}
    assert [len(samples[f"classes_{size}"]) for size in SIZES] == [100, 500, 1000, 1003, 1003]
    largest = samples["classes_10000"]
    assert sorted(largest) == list(choice.remaining)
    assert largest != choice.remaining
    assert all(samples[f"classes_{size}"] == largest[:size] for size in SIZES)
    assert [each.wanted for each in choice.samples] == [*SIZES, SIDE, SIDE]


def test_inside_and_outside(broad: WordNet) -> None:
    *_, inside, outside = chosen(broad).samples
    assert (inside.name, outside.name) == ("inside_300", "outside_300")
    assert len(set(inside.offsets)) == len(set(outside.offsets)) == 300
    assert all(each == INSIDE or each % 6 in (1, 5) for each in inside.offsets)
    assert all(each % 6 in (2, 4) for each in outside.offsets)  # so neither 0 nor 3, which hold the root


def test_the_seed_decides_and_nothing_else(broad: WordNet) -> None:
    assert chosen(broad) == chosen(broad)
    assert chosen(broad, seed=1).remaining == chosen(broad).remaining
    first, other = chosen(broad).samples[0].offsets, chosen(broad, seed=1).samples[0].offsets
    assert set(first) != set(other)
    assert 0 < len(set(first) & set(other)) < 30  # 10 expected of two independent samples of 100 in 1003


@pytest.mark.parametrize("place", [0, 7, 99])
def test_a_class_that_goes_makes_room_for_one(broad: WordNet, place: int) -> None:
    before = chosen(broad).samples[0].offsets
    after = chosen(broad, without=before[place]).samples[0].offsets
    assert after[:-1] == before[:place] + before[place + 1 :]


def test_which_classes_come_first_is_fixed(broad: WordNet) -> None:
    """So that lists can be made again: the order must not change between versions."""
    assert chosen(broad).samples[0].offsets[:5] == (371, 121, 638, 1057, 1121)


def test_an_individual_is_no_candidate_unless_it_is_given(wordnet: WordNet, tmp_path: Path) -> None:
    (writer,) = ids(wordnet, "crane.n.01")
    candidates = all_kinds(wordnet)
    assert candidates.offsets == set(wordnet.synsets) - {writer}
    (tmp_path / "ids.txt").write_text(f"{wordnet.synsets[writer].id}\n")
    assert read_candidates(tmp_path / "ids.txt", wordnet).offsets == {writer}


def test_candidates_of_a_file(wordnet: WordNet, tmp_path: Path) -> None:
    tench, chair = (wordnet.sense(f"{name}.n.01") for name in ("tench", "chair"))
    path = tmp_path / "words.txt"
    path.write_text(
        f"# mine\n{tench.id} tench, Tinca tinca\n{chair.id}\tchair\nsparrow.n.01\n"
        f"n99999999\nlamp\n{tench.id}\n"
    )
    found = read_candidates(path, wordnet)
    assert found.offsets == {tench.offset, chair.offset, *ids(wordnet, "sparrow.n.01")}
    assert found.unknown == ("n99999999", "lamp")


def test_candidates_of_a_folder(wordnet: WordNet, tmp_path: Path) -> None:
    tench = wordnet.sense("tench.n.01")
    for name in (tench.id, "n99999999", "val", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{wordnet.sense('chair.n.01').id}").touch()  # a file
    found = read_candidates(tmp_path, wordnet)
    assert found.offsets == {tench.offset}
    assert found.unknown == ("n99999999", "val")


def test_candidates_that_are_none(wordnet: WordNet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="such as n01440764, found 0 other names; give a folder"):
        read_candidates(tmp_path, wordnet)
    (tmp_path / "dogs").mkdir()
    with pytest.raises(InputError, match=r"found 1 other names .dogs \.\.\..; give a folder"):
        read_candidates(tmp_path, wordnet)
    with pytest.raises(InputError, match="No such file"):
        read_candidates(tmp_path / "gone", wordnet)


def test_roots_of_a_file(wordnet: WordNet, tmp_path: Path) -> None:
    path = tmp_path / "roots.txt"
    path.write_text(f"# mine\nfood.n.02\tsolid food\n{wordnet.sense('bird.n.01').id}\nlifting device\n")
    assert read_roots(path, wordnet) == tuple(
        wordnet.sense(sense).offset for sense in ("food.n.02", "bird.n.01", "lifting_device.n.01")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "bird\ncrane\n",
            r"line 2: expected one sense of 'crane', found 4 .crane\.n\.01: a writer; crane\.n\.02",
        ),
        ("brid\n", "line 1: 'brid' is no noun of WordNet 3.0; nearest: bird"),
        ("bird.n.07\n", "line 1: expected one of the 1 senses of 'bird'"),
        ("# none\n", "expected subtrees, one a line, found none"),
    ],
)
def test_roots_that_are_none(wordnet: WordNet, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "roots.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_roots(tmp_path / "roots.txt", wordnet)


# ---------------------------------------------------------------------- the paper's words


@pytest.fixture(scope="module")
def whole() -> Iterator[WordNet]:
    try:
        yield read_wordnet()
    except InputError as error:
        pytest.skip(str(error))


def test_the_papers_words() -> None:
    assert list(EXCLUDED) == PAPER.split(", ")
    assert len(PART_IMAGENET) == 11


def test_every_sense_is_one_of_its_word(whole: WordNet) -> None:
    for word, senses in EXCLUDED.items():
        assert {whole.sense(sense) for sense in senses} <= set(whole.senses_of(word))
        assert [whole.sense_name(whole.sense(sense).offset, word) for sense in senses] == list(senses)


def test_what_the_paper_leaves_out(whole: WordNet) -> None:
    candidates = all_kinds(whole).offsets
    assert len(candidates) == 74_385
    choice = choose(
        whole, candidates, excluded=roots_of(EXCLUDED, whole), inside=roots_of(PART_IMAGENET, whole), seed=0
    )
    remaining = set(choice.remaining)
    gone = ("oak.n.02", "apple.n.01", "bread.n.01", "kitchen.n.01", "bridge.n.01", "poker.n.02", "hand.n.01")
    kept = (
        "tench.n.01",
        "crane.n.04",
        "crane.n.05",
        "sports_car.n.01",
        "chair.n.01",
        "teacher.n.01",
        "bee.n.01",
    )
    assert not remaining & ids(whole, *gone)
    assert remaining >= ids(whole, *kept)
    assert [len(each.offsets) for each in choice.samples] == [*SIZES, SIDE, SIDE]
    assert len(remaining) == 23_287


def test_what_is_inside_part_imagenet(whole: WordNet) -> None:
    within = whole.subtree(roots_of(PART_IMAGENET, whole))
    inside = (
        "tench.n.01",
        "tiger.n.02",
        "gorilla.n.01",
        "school_bus.n.01",
        "mountain_bike.n.01",
        "airliner.n.01",
    )
    outside = ("person.n.01", "chair.n.01", "frog.n.01", "bee.n.01", "helicopter.n.01", "spoon.n.01")
    assert within >= ids(whole, *inside)
    assert not within & ids(whole, *outside)
