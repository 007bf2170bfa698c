"""Class maps: what a file may say, and that what is found under another name comes back under its own."""

from pathlib import Path

import pytest

from partdistillation.errors import InputError
from partdistillation.evaluation.class_map import labelled_under, read_class_map
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

OWN, KNOWN = ("tabby", "Siamese", "n01440764", "no", "1"), ("cat", "Fish", "on")


def read(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return read_class_map(path, own=OWN, known=KNOWN)


def test_lines_are_names_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    text = "# my classes\ntabby: cat\nSiamese: 'cat'\nn01440764: Fish\nno: on\n1: cat\n"
    expected = {"tabby": "cat", "Siamese": "cat", "n01440764": "Fish", "no": "on", "1": "cat"}
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines `class of the data set: class of the model`, found none"),
        ("tabby", "expected lines `class of the data set"),
        ("- tabby: cat", "expected lines `class of the data set"),
        ("tabby: [cat, Fish]", "one name on either side"),
        ("tabby:", "one name on either side"),
        ("tabby: {", "expected YAML"),
        ("tabby: cat\ntabby: Fish", "expected every class once, found 'tabby' twice"),
        ("taby: cat", r"'taby': expected one of the data set's .* Did you mean 'tabby'\?"),
        ("tabby: fish", r"tabby: 'fish': expected one of the model's .* Did you mean 'Fish'\?"),
        ("tabby: zebra", "Known: cat, Fish, on"),
    ],
)
def test_what_is_no_map_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "map.yaml" in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a YAML file that can be read"):
        read_class_map(tmp_path / "none.yaml", own=OWN, known=KNOWN)


def test_objects_are_read_as_other_classes_and_given_back_as_their_own() -> None:
    boxes = [Object(7, "tabby", 1.0, 1, (0, 0, 1, 1), b""), Object(8, "dog", 1.0, 1, (0, 0, 1, 1), b"")]
    seen: list[str] = []

    def label(row: ObjectRow) -> PartRow:
        seen.extend(one.category for one in row.objects)
        objects = (
            ObjectParts(one.object_id, one.category, (Part(2, 1.0, 1.0, 1, b""),)) for one in row.objects
        )
        return PartRow("1", "a.png", 4, 4, "ok", "", tuple(objects))

    found = labelled_under({"tabby": "cat"}, label, ObjectRow("1", "a.png", 4, 4, "ok", "", tuple(boxes)))
    assert seen == ["cat", "dog"]
    assert [(one.object_id, one.category, one.parts[0].part) for one in found.objects] == [
        (7, "tabby", 2),
        (8, "dog", 2),
    ]
