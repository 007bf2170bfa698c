"""WordNet's nouns: our reader on lines written by hand, and against NLTK on the whole of WordNet."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partdistillation.classes import wordnet as module
from partdistillation.classes.wordnet import Synset, WordNet, read_wordnet
from partdistillation.errors import InputError

LICENCE = "  1 This software and database is provided  \n  2 WordNet 3.0 Copyright 2006 by Princeton.  \n"
DATA = LICENCE + (
    "00001740 03 n 01 entity 0 002 ~ 00001930 n 0000 ~ 00002137 n 0000 | what exists  \n"
    "00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | what can be touched  \n"
    "00002137 03 n 02 abstraction 0 abstract_entity 0 002 @ 00001740 n 0000 + 00692347 v 0101 | a  \n"
    "01507175 05 n 01 bird 0 001 @ 00001930 n 0000 | an animal with wings  \n"
    "02012849 05 n 02 crane 1 great_Crane 0 003 @ 01507175 n 0000 #m 02012700 n 0000 @ 00001930 n 0000 | "
    'large long-necked bird; "a crane | flies"; "it wades"  \n'
    "03126707 06 n 01 crane 0 001 @ 00001930 n 0000 | lifts and moves heavy objects; has a boom  \n"
    "10914447 18 n 03 Crane 0 Stephen_Crane 0 St._Crane 0 002 @i 02012849 n 0000 @i 00002137 n 0000 | he  \n"
)
INDEX = LICENCE + (
    "abstract_entity n 1 2 @ ~ 1 0 00002137  \n"
    "abstraction n 1 2 @ ~ 1 1 00002137  \n"
    "bird n 1 2 @ ~ 1 1 01507175  \n"
    "crane n 3 3 @ ~ #m 3 0 10914447 03126707 02012849  \n"
    "entity n 1 1 ~ 1 1 00001740  \n"
    "great_crane n 1 1 @ 1 0 02012849  \n"
    "physical_entity n 1 2 @ ~ 1 0 00001930  \n"
    "st._crane n 1 1 @ 1 0 10914447  \n"
    "stephen_crane n 1 1 @ 1 0 10914447  \n"
)
ENTITY, PHYSICAL, ABSTRACTION, BIRD, CRANE, MACHINE, STEPHEN = (
    1740, 1930, 2137, 1507175, 2012849, 3126707, 10914447,
)  # fmt: skip


def written(folder: Path, data: str = DATA, index: str = INDEX) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "data.noun").write_text(data, encoding="utf-8")
    (folder / "index.noun").write_text(index, encoding="utf-8")
    return folder


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    return read_wordnet(written(tmp_path / "wordnet"))


def test_a_synset_is_its_line(wordnet: WordNet) -> None:
    assert wordnet.synsets[CRANE] == Synset(
        offset=2012849,
        lemmas=("crane", "great Crane"),
        gloss='large long-necked bird; "a crane | flies"; "it wades"',
        hypernyms=(BIRD, PHYSICAL),
        individual=False,
    )
    assert wordnet.synsets[CRANE].id == "n02012849"
    assert wordnet.synsets[CRANE].name == "crane"
    assert wordnet.synsets[CRANE].definition == "large long-necked bird"
    assert wordnet.synsets[MACHINE].definition == "lifts and moves heavy objects; has a boom"
    assert wordnet.synsets[STEPHEN].individual
    assert wordnet.synsets[STEPHEN].hypernyms == (CRANE, ABSTRACTION)
    assert wordnet.synsets[ENTITY].hypernyms == ()
    assert len(wordnet.synsets) == 7


def test_senses_in_the_order_of_the_index(wordnet: WordNet) -> None:
    assert [each.offset for each in wordnet.senses_of("crane")] == [STEPHEN, MACHINE, CRANE]
    assert wordnet.senses_of("Great  Crane") == wordnet.senses_of("great_crane") == (wordnet.synsets[CRANE],)
    assert wordnet.senses_of("cranes") == ()


def test_senses_by_name_and_by_id(wordnet: WordNet) -> None:
    assert wordnet.sense("crane.n.02").offset == MACHINE
    assert wordnet.sense("crane.n.2").offset == MACHINE
    assert wordnet.sense("st._crane.n.01").offset == STEPHEN
    assert wordnet.sense("great crane.n.01").offset == CRANE
    assert wordnet.sense("n03126707").offset == MACHINE
    assert wordnet.sense_name(CRANE) == "crane.n.03"
    assert wordnet.sense_name(CRANE, "great Crane") == "great_crane.n.01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crane.n.04", "expected one of the 3 senses of 'crane', found 'crane.n.04'"),
        ("crane.n.00", "expected one of the 3 senses"),
        ("crame.n.01", "'crame' is no noun of WordNet 3.0; nearest: crane .in 'crame.n.01'"),
        ("n00000001", "expected the id of a noun in WordNet 3.0, found 'n00000001'"),
        ("crane", "expected a sense like 'crane.n.05' or 'n02012849', found 'crane'"),
        ("crane.v.01", "expected a sense like"),
        ("n1440764", "expected a sense like"),
    ],
)
def test_what_is_no_sense(wordnet: WordNet, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wordnet.sense(text)


def test_above_and_below_with_individuals_on_all_paths(wordnet: WordNet) -> None:
    assert wordnet.hyponyms == {
        ENTITY: (PHYSICAL, ABSTRACTION),
        PHYSICAL: (BIRD, CRANE, MACHINE),
        ABSTRACTION: (STEPHEN,),
        BIRD: (CRANE,),
        CRANE: (STEPHEN,),
    }
    assert wordnet.subtree([BIRD]) == {BIRD, CRANE, STEPHEN}
    assert wordnet.subtree([MACHINE, ABSTRACTION]) == {MACHINE, ABSTRACTION, STEPHEN}
    assert wordnet.subtree([]) == frozenset()
    assert wordnet.ancestors(STEPHEN) == {CRANE, BIRD, PHYSICAL, ABSTRACTION, ENTITY}
    assert wordnet.ancestors(ENTITY) == frozenset()


def test_unknown_names_have_neighbours(wordnet: WordNet) -> None:
    assert wordnet.unknown("physical entty") == (
        "'physical entty' is no noun of WordNet 3.0; nearest: physical entity"
    )
    assert wordnet.unknown("xyz") == "'xyz' is no noun of WordNet 3.0"


@pytest.mark.parametrize(
    ("data", "index", "message"),
    [
        (DATA.replace("WordNet 3.0", "WordNet 3.1"), INDEX, "data.noun: expected WordNet 3.0.*found 3.1"),
        (DATA, INDEX.replace("WordNet 3.0", "WordNet 2.1"), "index.noun: expected WordNet 3.0.*found 2.1"),
        (LICENCE, LICENCE, "data.noun: expected WordNet's synsets, found none"),
        (DATA[:-30], INDEX, "data.noun, line 9: expected an entry"),
        (DATA.replace(" 02 crane", " 03 crane"), INDEX, "data.noun, line 7: expected an entry"),
        (DATA.replace("0 002 ~", "0 003 ~"), INDEX, "data.noun, line 3: expected an entry"),
        (DATA, INDEX[:-20], "index.noun, line 11: expected an entry"),
        (DATA, INDEX.replace("crane n 3 3", "crane n 4 3"), "index.noun, line 6: expected an entry"),
        (DATA.replace("01507175 05", "01507176 05"), INDEX, "found none for 01507175"),
        (DATA, INDEX.replace("03126707", "03126708"), "found none for 03126708"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, data: str, index: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_wordnet(written(tmp_path / "wordnet", data, index))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    folder = written(tmp_path / "wordnet")
    (folder / "index.noun").write_bytes(b"crane\xff")
    with pytest.raises(InputError, match=r"index\.noun: expected a dictionary file of WordNet"):
        read_wordnet(folder)


def test_without_wordnet_the_message_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"found none in .*: install WordNet 3.0 .*apt-get install wordnet-base"
    ):
        read_wordnet(tmp_path)


def test_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "search"))
    monkeypatch.setenv("WNHOME", str(tmp_path / "home"))
    places = module.usual_places()
    assert places[:2] == [tmp_path / "search", tmp_path / "home" / "dict"]
    assert {Path("/usr/share/wordnet"), tmp_path / "nltk_data" / "corpora" / "wordnet"} <= set(places)
    (tmp_path / "home").mkdir()
    written(tmp_path / "home" / "dict")
    assert len(read_wordnet().synsets) == 7


# ---------------------------------------------------------------------- against NLTK


@pytest.fixture(scope="session")
def dictionary() -> Path:
    folders = [
        each for each in module.usual_places() if all((each / name).is_file() for name in module.FILES)
    ]
    if not folders:
        pytest.skip("needs WordNet's dictionary files (apt-get install wordnet-base)")
    return folders[0]


@pytest.fixture(scope="session")
def whole(dictionary: Path) -> WordNet:
    return read_wordnet(dictionary)


@pytest.fixture(scope="session")
def nltk_wordnet(dictionary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """NLTK's reader on the same nouns; of the other files that it wants nothing but the licence is there."""
    paths = pytest.importorskip("nltk.data")
    reader = pytest.importorskip("nltk.corpus.reader.wordnet").WordNetCorpusReader
    root = tmp_path_factory.mktemp("nltk")
    folder = root / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for kind in ("verb", "adj", "adv"):
        for name in (f"data.{kind}", f"index.{kind}"):
            (folder / name).write_text(LICENCE)
    for name in ("noun.exc", "verb.exc", "adj.exc", "adv.exc", "index.sense", "cntlist.rev"):
        (folder / name).touch()
    (folder / "lexnames").write_text("".join(f"{number:02d}\tfile{number}\t1\n" for number in range(45)))
    for name in module.FILES:
        shutil.copy(dictionary / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "path", [str(root)])  # NLTK opens no files elsewhere
        with pytest.warns(UserWarning, match="multilingual"):
            wordnet = reader(str(folder), None)
        yield wordnet


@pytest.mark.slow
@pytest.mark.parametrize("step", [50, pytest.param(1, marks=pytest.mark.long)])
def test_nltk_has_the_same_synsets(whole: WordNet, nltk_wordnet: Any, step: int) -> None:
    for offset, ours in list(whole.synsets.items())[::step]:
        theirs = nltk_wordnet.synset_from_pos_and_offset("n", offset)
        assert ours.offset == theirs.offset() == offset
        assert ours.lemmas == tuple(lemma.replace("_", " ") for lemma in theirs.lemma_names())
        assert theirs.definition().startswith(ours.definition.split('"')[0].strip("; "))
        assert all(example in ours.gloss for example in theirs.examples())
        instances = theirs.instance_hypernyms()
        assert set(ours.hypernyms) == {each.offset() for each in [*theirs.hypernyms(), *instances]}
        assert ours.individual == bool(instances)
        below = [*theirs.hyponyms(), *theirs.instance_hyponyms()]
        assert set(whole.hyponyms.get(offset, ())) == {each.offset() for each in below}
        assert whole.sense_name(offset) == theirs.name()


@pytest.mark.long
def test_nltk_has_no_other_synsets(whole: WordNet, nltk_wordnet: Any) -> None:
    assert {each.offset() for each in nltk_wordnet.all_synsets("n")} == set(whole.synsets)
    assert len(whole.synsets) == 82_115


def test_nltk_has_the_same_senses_in_the_same_order(whole: WordNet, nltk_wordnet: Any) -> None:
    for lemma in ("crane", "dog", "bass", "physical_entity", "St._Bernard", "9/11", "tench", "head", "part"):
        assert [each.offset for each in whole.senses_of(lemma)] == [
            each.offset() for each in nltk_wordnet.synsets(lemma, "n", check_exceptions=False)
        ]
    assert set(whole.senses) == set(nltk_wordnet.all_lemma_names("n"))


def test_nltk_has_the_same_subtrees(whole: WordNet, nltk_wordnet: Any) -> None:
    for name in ("structure.n.01", "carnivore.n.01", "body_part.n.01"):
        theirs = nltk_wordnet.synset(name)
        assert whole.sense(name).offset == theirs.offset()
        below = theirs.closure(lambda each: each.hyponyms() + each.instance_hyponyms())
        assert whole.subtree([theirs.offset()]) == {theirs.offset(), *(each.offset() for each in below)}
        above = theirs.closure(lambda each: each.hypernyms() + each.instance_hypernyms())
        assert whole.ancestors(theirs.offset()) == {each.offset() for each in above}


def test_imagenets_ids(whole: WordNet) -> None:
    """From the lists that come with ImageNet."""
    known = {
        "n01440764": "tench",
        "n02012849": "crane",
        "n03126707": "crane",
        "n02123045": "tabby",
        "n04285008": "sports car",
        "n02504458": "African elephant",
        "n15075141": "toilet tissue",
    }
    assert {synset_id: whole.sense(synset_id).name for synset_id in known} == known
