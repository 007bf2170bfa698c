"""`partdistill classes`: from names or from WordNet's hierarchy to class lists."""

import json
from pathlib import Path

import pytest

from partdistillation.classes.choice import SIDE, SIZES
from partdistillation.classes.class_list import ClassEntry, read_class_list
from partdistillation.classes.wordnet import WordNet, read_wordnet
from partdistillation.commands.main import main

LISTS = (*(f"classes_{size}" for size in SIZES), f"inside_{SIDE}", f"outside_{SIDE}")


@pytest.fixture
def wordnet(small_wordnet: Path) -> WordNet:
    return read_wordnet(small_wordnet)


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def classes(small_wordnet: Path, out: Path, *args: str) -> int:
    return main(["classes", "--wordnet", str(small_wordnet), "--out", str(out), *args])


def test_names_and_their_senses_are_shown_and_written(
    small_wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = write(tmp_path / "names.txt", "tench", "crane", "smart phone\t-", "love")
    assert classes(small_wordnet, tmp_path / "lists", "--names", names) == 0
    path = tmp_path / "lists" / "classes.txt"
    shown = capsys.readouterr().out
    assert [line.rstrip() for line in shown.splitlines()] == [
        "tench",
        "  > tench.n.01 fish: a fish of Europe",
        "crane  ambiguous",
        "    crane.n.01 physical object: a writer",
        "  > crane.n.02 lifting device: a lifting tackle",
        "    crane.n.03 wading bird: a long-necked bird",
        "    crane.n.04 lifting device: a wooden bird",
        "smart phone  as written, not looked up",
        "love",
        "  > love.n.01 entity: a feeling",
        "",
        f"4 classes in {path}",
        "Ambiguous: 1. The sense marked > was taken: the first that is a kind of things.",
        "If another is meant, write that: crane.n.03 in place of crane.",
    ]
    assert [entry.name for entry in read_class_list(path).entries] == [
        "tench",
        "crane",
        "smart phone",
        "love",
    ]


def test_the_advice_works(small_wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write(tmp_path / "names.txt", "crane.n.02", "crane.n.03")
    assert classes(small_wordnet, tmp_path, "--names", names) == 0
    assert "2 classes in" in (shown := capsys.readouterr().out)
    assert "None of them is ambiguous." in shown
    assert read_class_list(tmp_path / "classes.txt").entries == (
        ClassEntry("crane (lifting device)", "crane", "crane (lifting device)"),
        ClassEntry("crane (wading bird)", "crane", "crane (wading bird)"),
    )


def test_brackets_in_names_are_shown_as_they_are(
    small_wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = write(tmp_path / "names.txt", "car [red] :smile:\t-")
    assert classes(small_wordnet, tmp_path, "--names", names) == 0
    assert "car [red] :smile:" in capsys.readouterr().out


def test_a_name_that_wordnet_doesnt_have(
    small_wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = write(tmp_path / "names.txt", "tensh")
    assert classes(small_wordnet, tmp_path / "lists", "--names", names) == 2
    assert "line 1: 'tensh' is no noun of WordNet 3.0; nearest: tench" in capsys.readouterr().err
    assert (tmp_path / "lists" / "unknown.txt").read_text() == "tensh\n"
    assert classes(small_wordnet, tmp_path / "lists", "--names", names, "--keep-names") == 0
    assert "1 unknown to WordNet (unknown.txt lists them), 0 that mean" in capsys.readouterr().out
    assert (tmp_path / "lists" / "unknown.txt").read_text() == "tensh\n"
    assert read_class_list(tmp_path / "lists" / "classes.txt").entries == (
        ClassEntry("tensh", "tensh", "tensh"),
    )
    write(tmp_path / "names.txt", "tench")
    assert classes(small_wordnet, tmp_path / "lists", "--names", names) == 0
    assert not (tmp_path / "lists" / "unknown.txt").exists()
    assert classes(small_wordnet, tmp_path / "lists", "--keep-names") == 2


def test_samples_of_all_of_wordnet_are_nested(small_wordnet: Path, tmp_path: Path, wordnet: WordNet) -> None:
    assert classes(small_wordnet, tmp_path) == 0
    lists = {name: read_class_list(tmp_path / f"{name}.txt") for name in LISTS}
    entries = lists["classes_10000"].entries
    assert lists["classes_100"].entries == entries[:100]
    by_name = {entry.name: entry for entry in entries}
    assert {"tench", "sparrow", "chair", "love", "crane (wading bird)", "dog (carnivore)"} <= by_name.keys()
    assert by_name["crane (wading bird)"] == ClassEntry(
        "crane (wading bird)", "crane", wordnet.sense("crane.n.03").id
    )
    assert not {"oak", "meat pie", "tree"} & by_name.keys()  # below tree and food
    inside = {entry.name for entry in lists["inside_300"].entries}
    outside = {entry.name for entry in lists["outside_300"].entries}
    assert {"tench", "sparrow", "dog (carnivore)"} <= inside
    assert {"chair", "lamp", "love"} <= outside
    assert not inside & outside
    assert not {"entity", "physical entity"} & (inside | outside)
    assert {entry.folder for entry in entries} >= {wordnet.sense("tench.n.01").id}


def test_the_summary_counts(small_wordnet: Path, tmp_path: Path, wordnet: WordNet) -> None:
    assert classes(small_wordnet, tmp_path, "--seed", "7") == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["seed"], summary["wordnet"], summary["available"]) == (7, "3.0", "WordNet")
    assert summary["candidates"] == len(wordnet.synsets) - 1  # without the writer
    assert summary["left_out"] + summary["remaining"] == summary["candidates"]
    assert summary["lists"]["classes_10000"] == {"wanted": 10_000, "classes": summary["remaining"]}
    assert len(summary["excluded"]) == 38
    assert summary["excluded"][4] | {"id": ""} == {
        "sense": "herb.n.01", "id": "", "definition": "sense 1", "classes": 1,
    }  # fmt: skip
    trees = next(each for each in summary["excluded"] if each["sense"] == "tree.n.01")
    assert trees["classes"] == 2  # tree and oak


def test_given_classes_and_subtrees(
    small_wordnet: Path,
    tmp_path: Path,
    wordnet: WordNet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    images = tmp_path / "images"
    for name in ("tench", "chair", "oak", "lamp", "sparrow"):
        (images / wordnet.sense(f"{name}.n.01").id).mkdir(parents=True)
    (images / "extra").mkdir()
    out = tmp_path / "lists"
    status = classes(
        small_wordnet,
        out,
        *("--available", str(images)),
        *("--excluded", write(tmp_path / "excluded.txt", "lamp")),
        *("--inside", write(tmp_path / "inside.txt", "tree.n.01\tall trees", "sparrow")),
    )
    assert status == 0
    named = {name: {entry.name for entry in read_class_list(out / f"{name}.txt").entries} for name in LISTS}
    assert named["classes_100"] == named["classes_10000"] == {"tench", "chair", "oak", "sparrow"}
    assert named["inside_300"] == {"oak", "sparrow"}
    assert named["outside_300"] == {"tench", "chair"}
    assert (out / "excluded.txt").read_text() == "lamp.n.01\ta light\n"
    assert (out / "part_imagenet.txt").read_text() == "tree.n.01\tsense 1\nsparrow.n.01\ta small bird\n"
    assert json.loads((out / "summary.json").read_text())["unknown"] == ["extra"]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["unknown", "to", "WordNet", "1", "extra"] in lines
    assert ["classes", "5"] in lines
    assert ["in", "excluded", "subtrees", "1", "listed", "in", "excluded.txt"] in lines
    assert ["classes_100.txt", "4", "fewer", "than", "the", "100", "wanted:", "all", "there", "are"] in lines


def test_what_was_written_makes_the_same_again(small_wordnet: Path, tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    assert classes(small_wordnet, first) == 0
    again = ("--excluded", str(first / "excluded.txt"), "--inside", str(first / "part_imagenet.txt"))
    assert classes(small_wordnet, second, *again) == 0
    assert classes(small_wordnet, other, "--seed", "1") == 0
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    one, another = (read_class_list(folder / "classes_100.txt").entries for folder in (first, other))
    assert one != another


def test_no_class_is_left(
    small_wordnet: Path, tmp_path: Path, wordnet: WordNet, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = write(tmp_path / "ids.txt", wordnet.sense("oak.n.01").id)
    assert classes(small_wordnet, tmp_path / "lists", "--available", ids) == 2
    assert "found none among 1 class; name fewer subtrees, with --excluded" in capsys.readouterr().err
    assert not (tmp_path / "lists").exists()


def test_a_sample_without_classes_is_not_written(
    small_wordnet: Path, tmp_path: Path, wordnet: WordNet
) -> None:
    ids = write(tmp_path / "ids.txt", wordnet.sense("chair.n.01").id)
    (tmp_path / "inside_300.txt").write_text("of an earlier run\n")
    assert classes(small_wordnet, tmp_path, "--available", ids) == 0
    assert not (tmp_path / "inside_300.txt").exists()
    assert [entry.name for entry in read_class_list(tmp_path / "outside_300.txt").entries] == ["chair"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--names", "a.txt", "--available", "b", "--inside", "c"],
            "found both (--names and --available, --inside)",
        ),
        (["--names", "gone.txt"], "gone.txt: expected a text file"),
        (["--available", "gone"], "gone: expected a text file"),
        (["--wordnet", "gone"], "expected WordNet's data.noun and index.noun, found none in gone"),
        (["--out", "taken"], "can't write to taken: File exists"),
    ],
)
def test_errors_say_what_to_do(
    small_wordnet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    assert classes(small_wordnet, tmp_path / "lists", *args) == 2
    assert message in capsys.readouterr().err
