"""Class lists as text: what is read, what is refused, and that nothing is lost on the way."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.classes.class_list import ClassEntry, ClassList, read_class_list, write_class_list
from partdistillation.errors import InputError


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "classes.txt"
    path.write_bytes(text.encode(encoding))
    return path


def test_prompt_and_folder_are_the_name_where_they_are_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# my classes\n\ntench\ncrane (bird)\tcrane\ncrane (machine) \t crane\tn03126707\r\n"
        "car\t\tn02958343\n",
    )
    assert read_class_list(path).entries == (
        ClassEntry("tench", "tench", "tench"),
        ClassEntry("crane (bird)", "crane", "crane (bird)"),
        ClassEntry("crane (machine)", "crane", "n03126707"),
        ClassEntry("car", "car", "n02958343"),
    )


def test_a_byte_order_mark_and_a_missing_last_newline(tmp_path: Path) -> None:
    assert read_class_list(written(tmp_path, "\ufefföre\ncar")).entries == (
        ClassEntry("öre", "öre", "öre"),
        ClassEntry("car", "car", "car"),
    )


def test_class_of_a_folder(tmp_path: Path) -> None:
    classes = read_class_list(written(tmp_path, "tench\t\tn01440764\ncar\n"))
    assert classes.of_folder("n01440764") == ClassEntry("tench", "tench", "n01440764")
    assert classes.of_folder("car") == ClassEntry("car", "car", "car")
    assert classes.of_folder("tench") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car\n\ndog\ncar\n", "line 4: expected every name once, found 'car' again .line 1 has it"),
        (
            "a\tx\tdog\n# no class\ndog\n",
            "line 3: expected every folder once, found 'dog' again .line 1 has it",
        ),
        ("car\ta\tb\tc\n", "line 1: expected at most 3 columns"),
        ("car\nn01440764 tench, Tinca\n", r"line 2: .* of ImageNet's list; `partdistill classes --names`"),
        ('["car", "tree"]\n', "line 1: .* which is JSON; write one class a line"),
        ("\tcar\n", "line 1: expected a name, found nothing"),
        ("# only this\n\n", "expected object classes, one a line, found none"),
        ("", "expected object classes, one a line, found none"),
    ],
)
def test_a_line_that_cant_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_class_list(written(tmp_path, text))


def test_semicolons_between_columns_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    classes = read_class_list(written(tmp_path, "car;automobile\ntree;plant\n"))
    assert [entry.name for entry in classes.entries] == ["car;automobile", "tree;plant"]
    assert "all names have semicolons, such as 'tree;plant'" in caplog.text


def test_files_that_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_class_list(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="Is a directory"):
        read_class_list(tmp_path)
    with pytest.raises(InputError, match="expected text in UTF-8, found byte 0"):
        read_class_list(written(tmp_path, "öre\n", "latin-1"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ClassEntry("", "car", "car"), "class 2: expected a name"),
        (ClassEntry("car", "", "car"), "class 2: expected a prompt"),
        (ClassEntry("car", "car", ""), "class 2: expected a folder"),
        (ClassEntry("a\tb", "car", "car"), "class 2: expected a name of one line without tabs"),
        (ClassEntry("car", "car ", "car"), "class 2: expected a prompt of one line"),
        (ClassEntry("\ufeffcar", "car", "car"), "class 2: expected a name of one line"),
        (ClassEntry("#car", "car", "car"), "doesn't start with '#'"),
        (ClassEntry('{"car"', "car", "car"), "which is JSON"),
        (ClassEntry("n02084071 dog", "dog", "dogs"), "of ImageNet's list"),
        (ClassEntry("dog", "car", "car"), "found 'dog' again .class 1"),
        (ClassEntry("car", "car", "dog"), "found 'dog' again .class 1"),
    ],
)
def test_a_list_that_no_file_could_hold_cant_be_made(entry: ClassEntry, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassList((ClassEntry("dog", "dog", "dog"), entry))


text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda text: text == text.strip().strip("\ufeff") != ""
)
names = text.filter(lambda name: not re.match(r"#|[\[{]\s*[\"']|n\d{8}[ ,]", name))


def test_a_brace_is_a_name(tmp_path: Path) -> None:
    classes = ClassList((ClassEntry("{", "'", "0"),))
    write_class_list(tmp_path / "classes.txt", classes)
    assert read_class_list(tmp_path / "classes.txt") == classes


@given(
    st.lists(st.builds(ClassEntry, names, text, text), min_size=1, unique_by=(lambda e: e[0], lambda e: e[2]))
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list[ClassEntry]) -> None:
    path = tmp_path_factory.mktemp("lists") / "classes.txt"
    classes = ClassList(tuple(entries))
    write_class_list(path, classes, comment="10 classes\n\nseed 3")
    assert path.read_text(encoding="utf-8").startswith("# 10 classes\n#\n# seed 3\n")
    assert read_class_list(path) == classes
