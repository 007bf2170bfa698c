"""Objects from COCO files; an image that can't be used ends as a rejected row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.data.images import ImageInput
from partdistillation.functional.masks import decode
from partdistillation.objects import ObjectSource, accept, log_rejected, reject, to_object
from partdistillation.objects.annotations import AnnotatedObjects, annotated_objects
from partdistillation.runs.records import ObjectRow

HEIGHT, WIDTH = 20, 30


def rectangle(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def annotation(number: int, segmentation: object, **extra: object) -> dict[str, object]:
    return {"id": number, "image_id": 1, "category_id": 1, "segmentation": segmentation, **extra}


@pytest.fixture
def images_dir(tmp_path: Path) -> Path:
    (tmp_path / "images/cat").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "images/cat/a.png")
    return tmp_path / "images"


def dataset(images_dir: Path, *annotations: Any, **image: object) -> CocoDataset:
    entry = {"id": 1, "file_name": "cat/a.png", "width": WIDTH, "height": HEIGHT, **image}
    categories = [{"id": 1, "name": "Cat"}, {"id": 2, "name": "Dog"}]
    path = images_dir.parent / "objects.json"
    path.write_text(json.dumps({"images": [entry], "annotations": annotations, "categories": categories}))
    return read_instances(path)


def row_of(
    images_dir: Path, *annotations: Any, max_objects: int | None = 10, min_area: float = 0.0, **image: object
) -> ObjectRow:
    data = dataset(images_dir, *annotations, **image)
    (one,) = data.inputs(images_dir)
    row = annotated_objects(data, one, max_objects=max_objects, min_area=min_area)
    assert AnnotatedObjects(data, max_objects, min_area)([one]) == [row]
    assert (row.image_id, row.file_name) == (one.image_id, one.file_name)
    assert (row.status == "rejected") == (not row.objects)
    return row


def test_objects_have_class_box_area_and_mask(images_dir: Path) -> None:
    row = row_of(
        images_dir, annotation(4, rectangle(2, 3, 12, 8)), annotation(5, rectangle(0, 0, 3, 3), category_id=2)
    )
    assert (row.status, row.reason, row.width, row.height) == ("ok", "", WIDTH, HEIGHT)
    first, second = row.objects
    assert (first.object_id, first.category, first.score, first.area) == (0, "Cat", 1.0, 50)
    assert first.box == (2.0, 3.0, 12.0, 8.0)
    assert decode(first.rle, HEIGHT, WIDTH).sum() == 50
    assert (second.object_id, second.category, second.area) == (1, "Dog", 9)


def test_best_score_first_then_the_largest(images_dir: Path) -> None:
    small, medium, large = rectangle(0, 0, 2, 2), rectangle(0, 0, 4, 4), rectangle(0, 0, 8, 8)
    row = row_of(
        images_dir,
        annotation(1, small, score=0.9),
        annotation(2, medium, score=0.1),
        annotation(3, large, score=0.1),
        max_objects=2,
    )
    assert [(o.object_id, o.score, o.area) for o in row.objects] == [(0, 0.9, 4), (1, 0.1, 64)]
    assert row.reason == "left out: 1 after the best 2"


def test_smallest_area_is_a_share_of_the_image(images_dir: Path) -> None:
    pair = annotation(1, rectangle(0, 0, 6, 5)), annotation(2, rectangle(0, 0, 29, 1))
    row = row_of(images_dir, *pair, min_area=0.05)  # 30 of 600 pixels
    assert [o.area for o in row.objects] == [30]
    assert row.reason == "left out: 1 empty or smaller than 0.05 of the image"
    row = row_of(images_dir, *pair, min_area=0.5)
    assert row.reason == "no objects; 2 empty or smaller than 0.5 of the image"


def test_no_annotations_and_crowds_only(images_dir: Path) -> None:
    assert row_of(images_dir).reason == "no objects"
    crowd = annotation(1, {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}, iscrowd=1)
    row = row_of(images_dir, crowd)
    assert (row.status, row.reason) == ("rejected", "no objects; 1 crowd regions")
    row = row_of(images_dir, crowd, annotation(2, rectangle(0, 0, 3, 3)))
    assert (row.status, row.reason, len(row.objects)) == ("ok", "left out: 1 crowd regions", 1)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        3,
        "rubbish",
        [],
        {},
        [[]],
        [[1, 1, 2, 2]],
        [[1, 1, float("nan"), 1, 4, 4]],
        [["a", 1, 4, 1, 4, 4]],
        {"size": [HEIGHT, WIDTH], "counts": [5]},
        {"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]},
        {"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": "not an encoding"},
        {"size": [HEIGHT, WIDTH]},
        {"counts": [HEIGHT * WIDTH]},
        {"size": "big", "counts": [HEIGHT * WIDTH]},
    ],
)
def test_rubbish_is_left_out_and_named(images_dir: Path, segmentation: object) -> None:
    bad = annotation(7, segmentation)
    row = row_of(images_dir, bad)
    assert row.reason.startswith("no objects; annotation 7: ")
    row = row_of(images_dir, bad, annotation(8, rectangle(0, 0, 3, 3)))
    assert (row.status, len(row.objects)) == ("ok", 1)
    assert row.reason.startswith("left out: annotation 7: ")


def test_mask_without_pixels(images_dir: Path) -> None:
    row = row_of(images_dir, annotation(7, {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}))
    assert row.reason == "no objects; 1 empty or smaller than 0 of the image"


def test_unknown_category_is_named(images_dir: Path) -> None:
    row = row_of(images_dir, annotation(7, rectangle(0, 0, 3, 3), category_id=9))
    assert "annotation 7: expected a category_id" in row.reason


def test_images_that_cannot_be_used(images_dir: Path) -> None:
    good = annotation(1, rectangle(0, 0, 3, 3))
    whole = (images_dir / "cat/a.png").read_bytes()
    (images_dir / "cat/cut.png").write_bytes(whole[: len(whole) // 2])
    for image, reason in (
        ({"file_name": "cat/missing.png"}, "no such file"),
        ({"file_name": "cat"}, "a directory"),
        ({"file_name": "../a.png"}, "inside the images directory"),
        ({"file_name": "cat/cut.png"}, "damaged data"),
        ({"width": HEIGHT, "height": WIDTH}, f"expected an image of {HEIGHT} x {WIDTH}"),
        ({"width": None}, "expected width and height"),
    ):
        row = row_of(images_dir, good, **image)
        assert row.status == "rejected"
        assert reason in row.reason
        assert str(images_dir) not in row.reason


def test_exif_orientation_against_the_annotation(images_dir: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(images_dir / "cat/turned.jpg", exif=exif)
    row = row_of(images_dir, annotation(1, rectangle(0, 0, 3, 3)), file_name="cat/turned.jpg")
    assert row.reason.endswith(f"found {HEIGHT} x {WIDTH}")
    assert (row.width, row.height) == (HEIGHT, WIDTH)


def test_inputs_of_a_folder_scan(images_dir: Path) -> None:
    data = dataset(images_dir, annotation(1, rectangle(0, 0, 3, 3)))
    known = ImageInput("cat/a.png", "cat/a.png", images_dir / "cat/a.png", "cat")
    unknown = ImageInput("cat/z.png", "cat/z.png", images_dir / "cat/z.png", "cat")
    segmenter: ObjectSource = AnnotatedObjects(data, 10, 0.0)
    first, second = segmenter([known, unknown])
    assert (first.status, first.image_id) == ("ok", "cat/a.png")
    assert second.reason == "no entry in objects.json has this image's id or file name"


def test_an_entry_without_size_rejects_a_scanned_image_too(images_dir: Path) -> None:
    data = dataset(images_dir, width=None)
    one = ImageInput("cat/a.png", "cat/a.png", images_dir / "cat/a.png", "cat")
    assert "width and height" in annotated_objects(data, one, max_objects=1, min_area=0.0).reason


def test_accept_keeps_the_order_of_equals() -> None:
    mask = np.ones((2, 2), bool)
    row = accept(
        ImageInput("a", "a", Path("a")),
        height=2,
        width=2,
        objects=[to_object(mask, name, 0.5) for name in "abc"],
        max_objects=2,
        min_area=1.0,
        notes=["one thing"],
    )
    assert [o.category for o in row.objects] == ["a", "b"]
    assert row.reason == "left out: one thing; 1 after the best 2"


def test_real_photographs(shared: Path) -> None:
    folder = shared / "data/street_parts"
    data = read_instances(folder / "objects_val.json")
    rows = AnnotatedObjects(data, 10, 0.0)(data.inputs(folder / "val")[::20])
    assert [row.status for row in rows] == ["ok"] * 6
    assert {row.objects[0].category for row in rows} == {"Car", "Person"}
    for row in rows:
        (written,) = data.of(row.image_id)
        assert isinstance(written.segmentation, dict)
        assert row.objects[0].rle.decode() == written.segmentation["counts"]


def test_the_first_images_that_cannot_be_used_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = [reject(ImageInput(f"{i}", f"{i}.png", Path(f"{i}.png")), "torn") for i in range(5)]
    log_rejected(rows)
    log_rejected(rows[:1])
    log_rejected([])
    assert caplog.messages == [
        "5 of 5 images can't be used: 0.png: torn; 1.png: torn; 2.png: torn; and 2 more",
        "1 of 1 images can't be used: 0.png: torn",
    ]


def test_all_annotated_objects_are_kept_unless_a_limit_is_asked_for(images_dir: Path) -> None:
    many = [annotation(number, rectangle(number, 0, number + 1, 5)) for number in range(25)]
    row = row_of(images_dir, *many, max_objects=None)
    assert (len(row.objects), row.reason) == (25, "")
    assert row_of(images_dir, *many).reason == "left out: 15 after the best 10"


def test_names_that_no_file_system_takes_are_rows(images_dir: Path) -> None:
    row = row_of(images_dir, annotation(1, rectangle(0, 0, 3, 3)), file_name=f"cat/{'x' * 300}.png")
    assert row.reason == (
        "expected an image file, found a name of 304 bytes, of which 255 are possible; rename the file"
    )


def test_normalised_coordinates_are_said(images_dir: Path) -> None:
    row = row_of(images_dir, annotation(1, [[0.1, 0.1, 0.5, 0.1, 0.5, 0.6]]))
    assert row.status == "rejected"
    assert "no objects; annotation 1: Expected polygon coordinates in pixels, found all of them" in row.reason
