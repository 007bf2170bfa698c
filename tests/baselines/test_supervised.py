"""The supervised baseline: the ground truth as parts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partdistillation import config
from partdistillation.baselines import supervised
from partdistillation.baselines.run import run_baseline
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode, encode
from partdistillation.models.pretrained import read_info
from partdistillation.recipes import PAPER
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.stages import distillation


def region(left: int, right: int) -> np.ndarray:
    mask = np.zeros((4, 20), np.bool_)
    mask[1:3, left:right] = True
    return mask


def annotation(number: int, category: int, object_id: int, mask: np.ndarray) -> dict[str, Any]:
    counts = {"size": [4, 20], "counts": encode(mask).decode()}
    return {
        "id": number, "image_id": 1, "category_id": category, "object_id": object_id,
        "segmentation": counts, "iscrowd": 0,
    }  # fmt: skip


@pytest.fixture
def truth(tmp_path: Path) -> CocoDataset:
    """Two cars side by side: the left one with a body and two wheels, the right one with a wheel alone."""
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 4}],
        "annotations": [
            annotation(1, 7, 100, region(0, 6)),
            annotation(2, 5, 100, region(6, 8)),
            annotation(3, 5, 100, region(8, 9)),
            annotation(4, 5, 200, region(12, 16)),
        ],
        "categories": [
            {"id": 5, "name": "car wheel", "supercategory": "car"},
            {"id": 7, "name": "car body", "supercategory": "car"},
            {"id": 9, "name": "dog tail", "supercategory": "dog"},
        ],
    }
    path = tmp_path / "parts.json"
    path.write_text(json.dumps(document))
    return read_parts(path)


def car(object_id: int, left: int, right: int, category: str = "car") -> Object:
    return Object(object_id, category, 1.0, 1, (0.0, 0.0, 1.0, 1.0), encode(region(left, right)))


def test_regions_of_one_name_are_one_part_of_their_own_object(truth: CocoDataset) -> None:
    names = supervised.part_names(truth)
    assert names == {"car": ("body", "wheel"), "dog": ("tail",)}
    row = ObjectRow("1", "a.png", 20, 4, "ok", "", (car(0, 11, 17), car(1, 0, 10), car(2, 0, 10, "dog")))
    right, left, dog = supervised.part_row(row, truth, names).objects
    assert [(part.part, part.area) for part in right.parts] == [(1, 8)]
    assert [(part.part, part.area) for part in left.parts] == [(0, 12), (1, 6)]
    assert np.array_equal(decode(left.parts[1].rle, 4, 20), region(6, 9))
    assert dog.parts == ()


def test_images_without_ground_truth_have_no_parts(truth: CocoDataset) -> None:
    names = supervised.part_names(truth)
    other = supervised.part_row(ObjectRow("2", "b.png", 20, 4, "ok", "", (car(0, 0, 9),)), truth, names)
    assert [found.parts for found in other.objects] == [()]


def test_unusable_ground_truth_is_an_error(truth: CocoDataset) -> None:
    truth.path.write_text(truth.path.read_text().replace('"category_id": 5', '"category_id": 4'))
    unusable = read_parts(truth.path)
    row = ObjectRow("1", "a.png", 20, 4, "ok", "", (car(0, 0, 9),))
    with pytest.raises(InputError, match="annotation 2: expected a category_id of `categories`, found 4"):
        supervised.part_row(row, unusable, supervised.part_names(truth))


def test_regions_stay_apart_for_the_agnostic_baseline(truth: CocoDataset) -> None:
    names = supervised.part_names(truth)
    row = ObjectRow("1", "a.png", 20, 4, "ok", "", (car(0, 0, 10),))
    (found,) = supervised.part_row(row, truth, names, regions=True).objects
    assert [decode(part.rle, 4, 20)[1].nonzero()[0].tolist() for part in found.parts] == [
        [0, 1, 2, 3, 4, 5], [6, 7], [8],
    ]  # fmt: skip


@pytest.mark.slow
def test_the_agnostic_baseline_is_a_proposal_model(
    drawings: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    inputs = Inputs(
        out=tmp_path,
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
    )
    folder = run_baseline("supervised-agnostic", inputs, tiny_recipe)
    assert config.from_yaml(tmp_path / "config.yaml", Inputs(out=tmp_path), PAPER) == (inputs, tiny_recipe)
    assert folder == tmp_path / "baselines" / "supervised_agnostic" / "proposal_model"
    assert read_info(folder).class_names == ("part",)
    images = distillation.part_images(
        tmp_path / "objects", folder.parent / "parts", None, tiny_recipe.supervised
    )
    assert {mask.label for image in images for mask in image.masks} == {0}
    count = sum(
        len(parts_of(truth, image)) for truth in [read_parts(inputs.need("parts"))] for image in truth.images
    )
    assert sum(len(image.masks) for image in images) == count
