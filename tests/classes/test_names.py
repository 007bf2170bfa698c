"""What names mean, what is taken, and how classes of one name are told apart."""

from pathlib import Path

import pytest

from partdistillation.classes.class_list import ClassEntry
from partdistillation.classes.names import (
    UNKNOWN,
    Noun,
    UnclearNames,
    imagenet_classes,
    is_object,
    kind_of,
    read_names,
    unique_names,
)
from partdistillation.classes.wordnet import WordNet, read_wordnet
from partdistillation.errors import InputError


@pytest.fixture(scope="module")
def wordnet(small_wordnet: Path) -> WordNet:
    return read_wordnet(small_wordnet)


def names(folder: Path, *lines: str) -> Path:
    path = folder / "names.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def offset(wordnet: WordNet, sense: str) -> int:
    return wordnet.sense(sense).offset


def test_a_name_takes_its_first_sense_that_is_a_kind_of_physical_things(
    wordnet: WordNet, tmp_path: Path
) -> None:
    crane, love, tench = read_names(names(tmp_path, "# mine", "Crane", "", "love", "tench"), wordnet)
    assert crane.entry == ClassEntry("Crane", "Crane", "Crane")
    assert crane.chosen == wordnet.sense("crane.n.02")  # the first is a writer
    assert crane.ambiguous
    assert [sense.gloss for sense in crane.senses] == [
        "a writer",
        'a lifting tackle; "the crane lifts"',
        "a long-necked bird",
        "a wooden bird",
    ]
    assert (love.chosen, love.ambiguous) == (wordnet.sense("love.n.01"), False)
    assert (tench.chosen, tench.ambiguous) == (wordnet.sense("tench.n.01"), False)


def test_a_sense_can_be_chosen(wordnet: WordNet, tmp_path: Path) -> None:
    bird = wordnet.sense("crane.n.03")
    found = {
        line: read_names(names(tmp_path, line), wordnet)[0]
        for line in (
            "crane.n.03",
            "crane\tcrane.n.03",
            "crane\t3",
            bird.id,
            f"crane\t{bird.id}",
            "wader\tcrane.n.03",
        )
    }
    assert {each.chosen for each in found.values()} == {bird}
    assert not any(each.ambiguous for each in found.values())
    assert [each.entry for each in found.values()] == [
        ClassEntry("crane", "crane", "crane"),
        ClassEntry("crane", "crane", "crane"),
        ClassEntry("crane", "crane", "crane"),
        ClassEntry("crane", "crane", bird.id),
        ClassEntry("crane", "crane", "crane"),
        ClassEntry("wader", "crane", "wader"),
    ]


def test_the_noun_that_was_written_is_the_prompt(wordnet: WordNet, tmp_path: Path) -> None:
    first, second = read_names(names(tmp_path, "domestic_dog.n.01", "true sparrow"), wordnet)
    assert first.entry == ClassEntry("domestic dog", "domestic dog", "domestic dog")
    assert second.entry.prompt == "true sparrow"


def test_classes_of_one_name_are_told_apart(wordnet: WordNet, tmp_path: Path) -> None:
    bird = wordnet.sense("crane.n.03").id
    found = read_names(names(tmp_path, "crane.n.02", bird, "crane.n.04", "chair", "Crane\t1"), wordnet)
    assert [each.entry for each in found] == [
        ClassEntry("crane (lifting device, sense 2)", "crane", "crane (lifting device, sense 2)"),
        ClassEntry("crane (wading bird)", "crane", bird),
        ClassEntry("crane (lifting device, sense 4)", "crane", "crane (lifting device, sense 4)"),
        ClassEntry("chair", "chair", "chair"),
        ClassEntry("Crane (physical object)", "Crane", "Crane (physical object)"),
    ]


def test_class_folders(wordnet: WordNet, tmp_path: Path) -> None:
    bird = wordnet.sense("crane.n.03").id
    for name in (bird, "crane", "domestic_dog", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "README").touch()
    assert [each.entry for each in read_names(tmp_path, wordnet)] == [
        ClassEntry("crane (lifting device)", "crane", "crane"),
        ClassEntry("domestic dog", "domestic dog", "domestic_dog"),
        ClassEntry("crane (wading bird)", "crane", bird),
    ]


def test_names_that_wordnet_doesnt_have_can_be_taken_as_they_are(wordnet: WordNet, tmp_path: Path) -> None:
    (found,) = read_names(names(tmp_path, "smart phone\t-"), wordnet)
    assert found.entry == ClassEntry("smart phone", "smart phone", "smart phone")
    assert (found.senses, found.chosen, found.ambiguous) == ((), None, False)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["tench", "tensh"],
            r"line 2: 'tensh' is no noun of WordNet 3\.0; nearest: tench(.|\n)*a tab",
        ),
        (["a" * 30, "tench", "b" * 30], r"line 1: 'a+' is no noun of WordNet 3\.0(.|\n)*line 3: 'b+'"),
        (["crane.n.05"], "line 1: expected one of the 4 senses of 'crane'"),
        (["crane\t5"], "line 1: expected one of the 4 senses of 'crane'"),
        (["crane\tbird"], "line 1: expected a sense like"),
        (["crane\tbird.n.01\tx"], "line 1: expected a sense like"),
        (["\tcrane"], "line 1: expected a name before the tab"),
        (["sparrow", "tench", "true sparrow"], r"line 3: 'true sparrow' means sparrow\.n\.01, as line 1"),
        (["sparrow\ttench.n.01", "sparrow"], "class 2: expected every name once, found 'sparrow'"),
        (["# nothing"], "expected class names, one a line, found none"),
    ],
)
def test_lines_that_cant_be_used(wordnet: WordNet, tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_names(names(tmp_path, *lines), wordnet)


def test_lines_of_imagenets_lists_are_their_ids(wordnet: WordNet, tmp_path: Path) -> None:
    tench, bird = wordnet.sense("tench.n.01").id, wordnet.sense("crane.n.03").id
    lines = (f"{tench} tench, Tinca tinca", f"{bird}\tcrane", "crane.n.02 lifting device", "n99999999")
    classes = read_names(names(tmp_path, *lines[:3]), wordnet)
    assert [named.entry for named in classes] == [
        ClassEntry("tench", "tench", tench),
        ClassEntry("crane (wading bird)", "crane", bird),
        ClassEntry("crane (lifting device)", "crane", "crane (lifting device)"),
    ]
    with pytest.raises(InputError, match="line 2: expected the id of a noun"):
        read_names(names(tmp_path, lines[0], f"{lines[3]} no such thing"), wordnet)
    with pytest.raises(InputError, match=r"line 2: 'tench' means tench\.n\.01, as line 1"):
        read_names(names(tmp_path, lines[0], lines[0]), wordnet, keep=True)


def test_names_that_are_kept(wordnet: WordNet, tmp_path: Path) -> None:
    lines = ("sparrow", "bat_(animal)", "true sparrow", "tensh", "crane")
    classes = read_names(names(tmp_path, *lines), wordnet, keep=True)
    assert [named.entry.name for named in classes] == list(lines)
    assert [named.note for named in classes] == [
        "",
        UNKNOWN,
        "means sparrow.n.01, as line 1",
        UNKNOWN,
        "",
    ]
    with pytest.raises(UnclearNames, match=r"5 names(.|\n)*2 of them(.|\n)*1 mean") as error:
        read_names(names(tmp_path, *lines), wordnet)
    assert error.value.unknown == ("bat_(animal)", "tensh")


def test_ten_problems_are_enough(wordnet: WordNet, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_names(names(tmp_path, *(f"xyzzy{number}" for number in range(13))), wordnet)
    assert "line 10: 'xyzzy9'" in str(error.value)
    assert "line 11" not in str(error.value)
    assert "13 of them" in str(error.value)


def test_unique_names_differ_in_more_than_case(wordnet: WordNet) -> None:
    dogs = [Noun("dog", offset(wordnet, "dog.n.01")), Noun("Dog", offset(wordnet, "dog.n.02"))]
    assert unique_names(wordnet, dogs) == ["dog (carnivore)", "Dog (physical object)"]
    assert unique_names(wordnet, dogs[:1]) == ["dog"]
    assert unique_names(wordnet, []) == []


def test_classes_of_imagenet_are_in_folders_named_by_id(wordnet: WordNet) -> None:
    tench, dog = wordnet.sense("tench.n.01"), wordnet.sense("dog.n.01")
    assert imagenet_classes(wordnet, [tench.offset, dog.offset]).entries == (
        ClassEntry("tench", "tench", tench.id),
        ClassEntry("dog", "dog", dog.id),
    )


def test_kinds_and_objects(wordnet: WordNet) -> None:
    assert kind_of(wordnet, offset(wordnet, "crane.n.03")) == "wading bird"
    assert kind_of(wordnet, offset(wordnet, "entity.n.01")) == ""
    assert is_object(wordnet, wordnet.sense("crane.n.03"))
    assert is_object(wordnet, wordnet.sense("physical_entity.n.01"))
    assert not is_object(wordnet, wordnet.sense("crane.n.01"))
    assert not is_object(wordnet, wordnet.sense("love.n.01"))
