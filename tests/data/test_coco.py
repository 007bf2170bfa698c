"""Annotation files: every defect of the file, of an image and of an annotation, and the way out and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.data.coco import CocoDataset, CocoImage, read_instances, read_parts
from partdistillation.data.coco_parts import GroundTruthPart, parts_of, tie_parts
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMask, decode, encode

SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]


def document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 1, "file_name": "cat/a.jpg", "width": 8, "height": 6},
            {"id": 2, "file_name": "cat/b.jpg", "width": 8, "height": 6},
        ],
        "annotations": [
            {"id": 10, "image_id": 1, "category_id": 7, "segmentation": SQUARE, "iscrowd": 0},
            {"id": 11, "image_id": 2, "category_id": 7, "segmentation": SQUARE, "score": 0.5},
        ],
        "categories": [{"id": 7, "name": "Cat", "supercategory": "animal"}],
    }


def read(tmp_path: Path, content: object) -> CocoDataset:
    path = tmp_path / "objects.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_instances(path)


def test_reads_what_the_file_says(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    assert dataset.images[0] == CocoImage(1, "cat/a.jpg", 8, 6)
    assert dataset.categories[0].name == "Cat"
    (annotation,) = dataset.of(2)
    assert (annotation.id, annotation.category.name, annotation.score, annotation.crowd) == (
        11,
        "Cat",
        0.5,
        False,
    )
    assert dataset.of(1)[0].score is None
    assert dataset.of(3) == ()
    assert dataset.notes == ()
    assert dataset.annotations_of(dataset.images[0]) == (dataset.of(1), ())


def test_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document()), encoding="utf-8-sig")
    assert len(read_instances(tmp_path / "a.json").images) == 2


@pytest.mark.parametrize("image_ids", [("1", 1), (1, "1")])
def test_ids_are_kept_and_compared_as_strings(tmp_path: Path, image_ids: tuple[Any, Any]) -> None:
    content = document()
    content["images"][0]["id"], content["annotations"][0]["image_id"] = image_ids
    content["annotations"][0]["category_id"] = "7"
    dataset = read(tmp_path, content)
    assert dataset.images[0].id == image_ids[0]
    assert len(dataset.of(image_ids[0])) == 1
    assert dataset.inputs(tmp_path)[0].image_id == "1"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"images": [' + "9" * 5000 + "]}", "JSON"),
        ("[]", "found a list"),
        ({"images": [], "annotations": []}, "`categories`.*nothing"),
        ({"images": {}, "annotations": [], "categories": []}, "`images`.*dict"),
    ],
)
def test_useless_files(tmp_path: Path, content: object, found: str) -> None:
    with pytest.raises(InputError, match=found) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "objects.json"))


def test_not_a_text_file_missing_file_directory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe\x00")
    for path, found in ((tmp_path / "a", "UTF-8"), (tmp_path / "b", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InputError, match=found):
            read_instances(path)


@pytest.mark.parametrize(
    ("key", "entry", "found"),
    [
        ("images", {"id": 1, "file_name": "c.jpg", "width": 8, "height": 6}, "1 twice"),
        ("images", {"id": "1", "file_name": "c.jpg", "width": 8, "height": 6}, "'1' twice"),
        ("images", "c.jpg", "images.2. as"),
        ("images", {"file_name": "c.jpg"}, "images.2. as"),
        ("images", {"id": 1.5}, "images.2..id"),
        ("images", {"id": True}, "images.2..id"),
        ("images", {"id": None}, "images.2..id"),
        ("images", {"id": "\ud800"}, "Unicode"),
        ("categories", {"id": 7, "name": "Dog"}, "7 twice"),
        ("categories", {"id": 8}, "categories.1. as"),
        ("categories", {"id": 8, "name": " "}, "categories.1. as"),
        ("categories", {"id": 8, "name": 3}, "categories.1. as"),
        ("categories", {"id": [], "name": "Dog"}, "categories.1..id"),
        ("categories", {"id": 8, "name": "\udc00"}, "Unicode"),
        ("categories", None, "categories.1. as"),
    ],
)
def test_entries_that_make_the_file_useless(tmp_path: Path, key: str, entry: object, found: str) -> None:
    content = document()
    content[key].append(entry)
    with pytest.raises(InputError, match=found) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "objects.json"))


@pytest.mark.parametrize(
    "name",
    [
        None,
        3,
        "",
        "/etc/passwd",
        "../a.jpg",
        "cat/../../a.jpg",
        "C:/a.jpg",
        "C:a.jpg",
        "..\\a.jpg",
        "\\\\host\\a.jpg",
        "a\0.jpg",
        "a\ud800.jpg",
    ],
)
def test_file_names_that_are_refused(tmp_path: Path, name: object) -> None:
    content = document()
    content["images"][0]["file_name"] = name
    dataset = read(tmp_path, content)
    assert "file" in dataset.images[0].problem
    first, second = dataset.inputs(tmp_path)
    assert first.problem == dataset.images[0].problem
    assert first.path == tmp_path
    assert second.problem == ""
    assert second.path == tmp_path / "cat/b.jpg"


@pytest.mark.parametrize(
    "size",
    [(0, 6), (-8, -6), (8.5, 6), ("8 px", 6), (None, 6), (float("nan"), 6), (True, 6), (100_000, 100_000)],
)
def test_sizes_that_are_refused(tmp_path: Path, size: tuple[Any, Any]) -> None:
    content = document()
    content["images"][0]["width"], content["images"][0]["height"] = size
    dataset = read(tmp_path, content)
    assert "expected width and height" in dataset.images[0].problem
    assert dataset.images[0].file_name == "cat/a.jpg"
    assert dataset.images[1].problem == ""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"category_id": 8}, "category_id"),
        ({"category_id": None}, "category_id"),
        ({"category_id": [1]}, "category_id"),
        ({"segmentation": None}, "segmentation"),
        ({"iscrowd": 2}, "iscrowd"),
        ({"iscrowd": "no"}, "iscrowd"),
        ({"score": float("nan")}, "score"),
        ({"score": float("inf")}, "score"),
        ({"score": -1}, "score"),
        ({"score": 10**400}, "score"),
        ({"score": "high"}, "score"),
        ({"score": True}, "score"),
        ({"object_id": 1.5}, "object_id"),
        ({"id": []}, "id"),
        ({"id": "\ud800"}, "id"),
    ],
)
def test_unusable_annotations_are_kept_with_their_reason(
    tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    content = document()
    content["annotations"][0].update(change)
    dataset = read(tmp_path, content)
    assert dataset.of(1) == ()
    (reason,) = dataset.annotations_of(dataset.images[0])[1]
    assert reason.startswith("annotation ")
    assert reason.encode()
    assert f"expected {'a ' if found in ('segmentation', 'category_id', 'score') else ''}{found}" in reason
    assert len(dataset.of(2)) == 1


def test_annotations_of_no_image_and_crowds_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = document()
    content["annotations"] += [
        None,
        {"id": 12, "image_id": 99, "category_id": 7, "segmentation": SQUARE},
        {"id": 12, "image_id": [], "category_id": 7, "segmentation": SQUARE},
        {
            "id": 10,
            "image_id": 1,
            "category_id": 7,
            "segmentation": {"size": [6, 8], "counts": [48]},
            "iscrowd": 1,
        },
    ]
    dataset = read(tmp_path, content)
    assert dataset.notes[0].startswith("3 annotations belong to no entry")
    assert dataset.notes[1].startswith("1 crowd")
    dataset.log_notes()
    assert caplog.messages == [f"{dataset.path}: {note}" for note in dataset.notes]
    assert [a.crowd for a in dataset.of(1)] == [False, True]  # the same annotation id twice harms nobody


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "images",
                        "annotations",
                        "categories",
                        "id",
                        "file_name",
                        "name",
                        "image_id",
                        "category_id",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=15,
    )
)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.mktemp("any") / "a.json"
    content = (
        content
        if not isinstance(content, dict)
        else {"images": [], "annotations": [], "categories": []} | content
    )
    path.write_text(json.dumps(content))
    try:
        read_instances(path)
    except InputError:
        return


def test_find_by_id_or_file_name(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    assert all(
        dataset.find(image) == entry
        for image, entry in zip(dataset.inputs(tmp_path), dataset.images, strict=True)
    )
    assert dataset.find(ImageInput("cat/b.jpg", "cat/b.jpg", tmp_path)) == dataset.images[1]
    assert dataset.find(ImageInput("1", "cat/b.jpg", tmp_path)) == dataset.images[1]
    assert dataset.find(ImageInput("1", "dog/z.jpg", tmp_path)) is None


def test_images_directory_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory of the images"):
        read(tmp_path, document()).inputs(tmp_path / "nowhere")


# Other tools' spellings


def test_ids_sizes_and_crowds_in_other_spellings(tmp_path: Path) -> None:
    content = document()
    content["images"][0] |= {"id": 1.0, "width": 8.0, "height": "6"}
    content["categories"][0]["id"] = 7.0
    content["annotations"][0] |= {"id": 10.0, "image_id": 1, "category_id": 7, "iscrowd": None}
    content["annotations"][1] |= {"image_id": 2.0, "category_id": "7", "iscrowd": "0"}
    dataset = read(tmp_path, content)
    assert dataset.images[0] == CocoImage(1, "cat/a.jpg", 8, 6)
    assert [(dataset.of(image)[0].id, dataset.of(image)[0].crowd) for image in (1, 2)] == [
        (10, False),
        (11, False),
    ]
    assert [type(value) for value in (dataset.images[0].id, dataset.of(1)[0].id)] == [int, int]


def test_entries_that_are_repeated_word_for_word_count_once(tmp_path: Path) -> None:
    content = document()
    content["categories"] *= 3
    content["images"] *= 2
    content["annotations"] *= 2
    dataset = read(tmp_path, content)
    assert ([image.id for image in dataset.images], len(dataset.categories)) == ([1, 2], 1)
    assert [len(dataset.of(1)), len(dataset.of(2))] == [1, 1]
    assert dataset.notes == ("2 annotations have been there before, word for word; they count once",)
    del content["annotations"][0]["id"]  # nothing says then that it isn't another object
    assert len(read(tmp_path, content).of(1)) == 2


def test_annotations_of_one_id_are_kept(tmp_path: Path) -> None:
    content = document()
    content["annotations"] += [dict(content["annotations"][0], segmentation=[[0, 0, 2, 0, 2, 2]])]
    assert len(read(tmp_path, content).of(1)) == 2


def test_backslashes_are_slashes(tmp_path: Path) -> None:
    content = document()
    content["images"][0]["file_name"] = "cat\\deep\\a.jpg"
    (image, _) = read(tmp_path, content).inputs(tmp_path)
    assert (image.file_name, image.path) == ("cat/deep/a.jpg", tmp_path / "cat/deep/a.jpg")


@pytest.mark.parametrize("segmentation", [None, []])
def test_boxes_without_masks_are_called_so(tmp_path: Path, segmentation: object) -> None:
    content = document()
    content["annotations"][0] |= {"segmentation": segmentation, "bbox": [1, 1, 3, 3]}
    dataset = read(tmp_path, content)
    (reason,) = dataset.annotations_of(dataset.images[0])[1]
    assert reason.startswith("annotation 10: expected a segmentation, found only a box: boxes aren't masks")


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ({"shapes": [], "imagePath": "a.jpg", "imageData": None}, "labelme's format; labelme2coco"),
        ({"a.jpg1": {"filename": "a.jpg", "regions": []}}, "VIA's own format; in VIA choose"),
        ({"_via_img_metadata": {}, "_via_settings": {}}, "VIA's own format"),
        ("0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.3 0.4 0.5 0.6\n", "YOLO's format; Datumaro"),
        ("path: ../data\ntrain: images/train\nnames:\n  0: dog\n", "YOLO's format"),
        ("<annotation><folder>a</folder></annotation>", "XML, as Pascal VOC or CVAT"),
        ([{"image_id": 1, "category_id": 7, "segmentation": SQUARE}], "COCO results or annotations alone"),
        ([{"id": 1, "annotations": [], "data": {"image": "a.jpg"}}], "Label Studio's own format"),
    ],
)
def test_other_formats_are_recognised(tmp_path: Path, content: object, known: str) -> None:
    with pytest.raises(InputError, match=known):
        read(tmp_path, content)


# Parts


def test_the_object_of_a_part_is_also_read_as_paco_has_it(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["obj_ann_id"] = 11
    content["annotations"][1] |= {"obj_ann_id": 11, "object_id": 10}
    dataset = read(tmp_path, content)
    assert [dataset.of(image)[0].object_id for image in (1, 2)] == [11, 10]


def test_annotations_without_image_are_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["image_id"] = 9
    assert read(tmp_path, content).orphans == 1
    assert read(tmp_path, document()).orphans == 0


def blob(y: slice, x: slice) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((6, 8), bool)
    mask[y, x] = True
    return mask


LEFT, RIGHT = blob(slice(0, 6), slice(0, 4)), blob(slice(0, 6), slice(4, 8))
WHEEL, DOOR, FAR_WHEEL = (
    blob(slice(4, 6), slice(0, 2)),
    blob(slice(0, 2), slice(1, 3)),
    blob(slice(4, 6), slice(5, 7)),
)


def test_parts_need_their_object_class(tmp_path: Path) -> None:
    content = document()
    del content["categories"][0]["supercategory"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="supercategory"):
        read_parts(tmp_path / "a.json")


def test_a_root_category_without_parts_is_left_out(tmp_path: Path) -> None:
    """As Roboflow writes it; a category in use stays, whatever its class is called."""
    content = document()
    content["categories"] += [{"id": 0, "name": "animal", "supercategory": "none"}, {"id": 9, "name": "x"}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert [category.name for category in read_parts(tmp_path / "a.json").categories] == ["Cat"]
    content["annotations"][0]["category_id"] = 0
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert [category.name for category in read_parts(tmp_path / "a.json").categories] == ["Cat", "animal"]


def test_all_parts_of_one_class(tmp_path: Path) -> None:
    content = document()
    del content["categories"][0]["supercategory"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = read_parts(tmp_path / "a.json", "Horse")
    ((part,), *_) = (parts_of(dataset, image) for image in dataset.images)
    assert (part.category, part.name) == ("Horse", "Cat")


@pytest.mark.parametrize(
    ("where", "change", "found"),
    [
        ("images", {"width": None}, "width and height"),
        ("annotations", {"segmentation": "rubbish"}, "annotation 10"),
        ("annotations", {"category_id": 99}, "annotation 10"),
    ],
)
def test_unusable_ground_truth_is_an_error(
    tmp_path: Path, where: str, change: dict[str, Any], found: str
) -> None:
    content = document()
    content[where][0].update(change)
    dataset = read(tmp_path, content)
    with pytest.raises(InputError, match=found):
        parts_of(dataset, dataset.images[0])


def test_crowd_parts_are_skipped(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["iscrowd"] = 1
    dataset = read(tmp_path, content)
    assert parts_of(dataset, dataset.images[0]) == ()


def part(mask: Any, object_id: int | None = None, category: str = "Car") -> GroundTruthPart:
    return GroundTruthPart(category, "Part", object_id, EncodedMask(encode(mask), *mask.shape))


def test_parts_go_to_the_only_object_of_their_class() -> None:
    masks = np.stack([LEFT, RIGHT])
    assert tie_parts([part(FAR_WHEEL), part(DOOR, category="Dog")], ["Car", "Bus"], masks) == [0, -1]


def test_parts_go_to_the_object_they_overlap_most() -> None:
    masks = np.stack([LEFT, RIGHT])
    nearly_left = blob(slice(0, 6), slice(2, 5))
    assert tie_parts([part(FAR_WHEEL), part(nearly_left)], ["Car", "Car"], masks) == [1, 0]
    assert tie_parts([part(RIGHT)], ["Car", "Car"], np.stack([WHEEL, DOOR])) == [-1]


def test_parts_of_an_object_stay_together() -> None:
    # Object 1 is the left half and a piece of the right one, which alone would go to the right.
    parts = [part(WHEEL, 1), part(DOOR, 1), part(FAR_WHEEL, 1), part(RIGHT, 2)]
    masks = np.stack([RIGHT, LEFT])
    assert tie_parts(parts, ["Car", "Car"], masks) == [1, 1, 1, 0]
    assert tie_parts(parts, ["Car"], masks[:1]) == [-1, -1, -1, 0]
    assert tie_parts(parts, [], masks[:0]) == [-1] * 4


def test_real_layouts(shared: Path) -> None:
    instances = read_instances(shared / "data/coco_tiny/annotations/instances_val2017.json")
    assert (len(instances.images), len(instances.categories)) == (50, 80)
    assert sum(len(instances.of(image.id)) for image in instances.images) == 382
    assert instances.notes == ("5 crowd regions (iscrowd = 1) are no objects; they are skipped",)

    dataset = read_parts(shared / "data/street_parts/parts_val.json")
    parts = [part for image in dataset.images[:10] for part in parts_of(dataset, image)]
    assert {part.category for part in parts} == {"Car"}
    assert {"Wheel", "Door"} <= {part.name for part in parts}
    assert all(part.mask.any() for part in parts)


def test_encoding_is_the_one_that_rows_hold() -> None:
    np.testing.assert_array_equal(decode(encode(LEFT), 6, 8), LEFT)
