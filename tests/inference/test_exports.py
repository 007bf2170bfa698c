"""Runs and predictions as labels: names, ids and what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partdistillation.errors import ConfigError, InputError, StoreError
from partdistillation.functional.masks import encode
from partdistillation.inference.exports import export, labels_of, write_classes
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Row
from partdistillation.stages import part_classes

HEIGHT, WIDTH = 8, 10
Write = Callable[[Path, Sequence[Row]], Path]


def box(y: slice, x: slice) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y, x] = True
    return mask


WHOLE, TOP, BOTTOM = (
    box(slice(0, 8), slice(0, 6)),
    box(slice(0, 3), slice(0, 6)),
    box(slice(5, 8), slice(0, 6)),
)


def instance(category: str) -> Object:
    return Object(0, category, 0.5, int(WHOLE.sum()), (0, 0, 6, 8), encode(WHOLE))


def part(number: int, mask: NDArray[np.bool_], score: float) -> Part:
    return Part(number, score, score, int(mask.sum()), encode(mask))


HEADER: tuple[str, str, int, int, Literal["ok"], str] = ("1", "car/1.jpg", WIDTH, HEIGHT, "ok", "")
OBJECTS = [
    ObjectRow(*HEADER, (instance("car"),)),
    ObjectRow("2", "car/2.jpg", 0, 0, "rejected", "can't be read", ()),
    ObjectRow("3", "cat/3.jpg", WIDTH, HEIGHT, "ok", "", (instance("cat"),)),
]
PARTS = [
    PartRow(*HEADER, (ObjectParts(0, "car", (part(0, TOP, 0.9), part(2, BOTTOM, 0.4))),)),
    PartRow("2", "car/2.jpg", 0, 0, "rejected", "can't be read", ()),
    PartRow("3", "cat/3.jpg", WIDTH, HEIGHT, "ok", "", (ObjectParts(0, "cat", ()),)),
]


@pytest.fixture
def predictions(tmp_path: Path, write_stage: Write) -> Path:
    folder = tmp_path / "predictions_of"
    write_stage(folder / "objects", OBJECTS)
    write_stage(folder / "predictions", PARTS)
    write_classes(folder, {"bus": ["part 0"], "car": ["part 0", "part 1", "part 2"]})
    return folder


@pytest.fixture
def run(tmp_path: Path, write_stage: Write) -> Path:
    """Without a part model yet: the part classes say what there is."""
    folder = tmp_path / "run"
    write_stage(folder / "objects", OBJECTS)
    write_stage(folder / "parts", PARTS)
    part_classes.write(
        folder / "part_classes", {"car": np.zeros((3, 2), np.float32)}, {"settings": {}}, {"car": {}}
    )
    return folder


def test_classes_are_the_models_and_then_what_it_doesnt_know(predictions: Path) -> None:
    labels = labels_of(predictions)
    assert dict(labels.catalog) == {
        "bus": ["part 0"],
        "car": ["part 0", "part 1", "part 2"],
        "cat": (),
    }
    images = list(labels.images)
    assert len(labels.images) == len(images) == 2
    assert [image.image.file_name for image in images] == ["car/1.jpg", "cat/3.jpg"]
    assert [image.image.id for image in images] == [1, 3]
    assert [region.name for region in images[0].objects[0].parts] == ["part 0", "part 2"]


def test_a_run_without_a_model_has_its_part_classes(run: Path) -> None:
    assert dict(labels_of(run).catalog) == {"car": ["part 0", "part 1", "part 2"], "cat": ()}


def test_tables_join_name_and_leave_out(predictions: Path) -> None:
    labels = labels_of(predictions, PartTable({"car": ClassParts({0: "roof"}, {2: 0}, frozenset({1}))}))
    assert labels.catalog["car"] == ["roof", None, None]
    ((region,),) = [image.objects[0].parts for image in labels.images if image.image.id == 1]
    assert region.name == "roof"
    assert region.score == 0.9


def test_low_scores_are_left_out(predictions: Path) -> None:
    (first, _) = labels_of(predictions, min_score=0.5).images
    assert [region.name for region in first.objects[0].parts] == ["part 0"]


@pytest.mark.parametrize(
    "table",
    [PartTable({"dog": ClassParts({0: "tail"})}), PartTable({"car": ClassParts({3: "roof"})})],
)
def test_other_models_tables_are_refused(table: PartTable, predictions: Path) -> None:
    with pytest.raises(InputError, match="another model's table"):
        labels_of(predictions, table)


def test_other_models_predictions_are_refused(predictions: Path) -> None:
    write_classes(predictions, {"car": ["part 0"]})
    with pytest.raises(InputError, match=r"part 2 of 'car'.*another model's"):
        list(labels_of(predictions).images)


def test_stages_that_dont_belong_together_are_refused(
    tmp_path: Path, write_stage: Write, predictions: Path
) -> None:
    write_stage(tmp_path / "other/objects", OBJECTS[:2])
    write_stage(tmp_path / "other/predictions", PARTS)
    write_classes(tmp_path / "other", {"car": ["part 0", "part 1", "part 2"]})
    with pytest.raises(InputError, match="2 and 3 photographs"):
        list(labels_of(tmp_path / "other").images)


def test_predictions_without_classes_say_what_to_do(predictions: Path) -> None:
    (predictions / "classes.json").unlink()
    with pytest.raises(InputError, match="partdistill predict"):
        labels_of(predictions)
    (predictions / "classes.json").write_text("[]")
    with pytest.raises(InputError, match=r"classes\.json"):
        labels_of(predictions)


def test_exports_are_whole_or_absent(predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        export(predictions, "coco", out)
        == "2 images with objects and parts; 1 that can't be read are left out"
    )
    first = (out / "annotations.json").read_bytes()
    with pytest.raises(StoreError, match="new or empty folder"):
        export(predictions, "coco", out)
    export(predictions, "coco", tmp_path / "again")
    assert (tmp_path / "again/annotations.json").read_bytes() == first
    write_classes(predictions, {"car": ["part 0"]})
    with pytest.raises(InputError):
        export(predictions, "masks", tmp_path / "failed")
    assert {path.name for path in tmp_path.iterdir()} == {"predictions_of", "out", "again"}


def test_ids_dont_depend_on_what_was_found(predictions: Path, tmp_path: Path) -> None:
    export(predictions, "coco", tmp_path / "all")
    export(predictions, "coco", tmp_path / "few", min_score=0.95)
    contents: list[Any] = [
        json.loads((tmp_path / name / "annotations.json").read_text()) for name in ("all", "few")
    ]
    assert contents[0]["categories"] == contents[1]["categories"]
    assert len(contents[0]["annotations"]) == len(contents[1]["annotations"]) + 2


def test_datasets_are_the_rows_as_they_are(predictions: Path, tmp_path: Path) -> None:
    export(predictions, "datasets", tmp_path / "out")
    (copied,) = (tmp_path / "out/parts").glob("*.parquet")
    assert copied.read_bytes() == (predictions / "predictions" / copied.name).read_bytes()
    export(predictions, "datasets", tmp_path / "decoded", decode=True)
    assert (tmp_path / "decoded/masks/00000.parquet").is_file()
    with pytest.raises(ConfigError, match="--decode"):
        export(predictions, "datasets", tmp_path / "scored", min_score=0.5)
    with pytest.raises(ConfigError, match="--decode"):
        export(predictions, "coco", tmp_path / "coco", decode=True)


def test_photographs_are_asked_for_where_they_are_needed(predictions: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--images"):
        export(predictions, "yolo", tmp_path / "out")
    for name in ("car/1.jpg", "cat/3.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos" / name)
    export(predictions, "yolo", tmp_path / "out", images=tmp_path / "photos")
    assert (tmp_path / "out/images/car/1.jpg").resolve() == tmp_path / "photos/car/1.jpg"


def test_tables_are_files_here(predictions: Path, tmp_path: Path) -> None:
    write_part_table(tmp_path / "table.json", PartTable({"car": ClassParts({0: "roof"})}))
    export(predictions, "coco", tmp_path / "out", part_table=tmp_path / "table.json")
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    assert "car roof" in [category["name"] for category in content["categories"]]
