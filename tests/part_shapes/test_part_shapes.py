"""PartShapes: the same scene always, and masks that fit each other."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from partdistillation.part_shapes import PartShapes, Scene, write_coco

COUNT = 60


@pytest.fixture(scope="module", params=[96, 128])
def scenes(request: pytest.FixtureRequest) -> list[Scene]:
    data = PartShapes(seed=3, size=request.param)
    return [data[index] for index in range(COUNT)]


def same(a: Scene, b: Scene) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and [(o.category, o.variety) for o in a.objects] == [(o.category, o.variety) for o in b.objects]
        and all(np.array_equal(p.mask, q.mask) for p, q in zip(a.objects, b.objects, strict=True))
    )


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    forward = [PartShapes(5)[i] for i in (0, 1, 7)]
    data = PartShapes(5)
    backward = [data[i] for i in (7, 1, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))


def test_indices_and_seeds_give_different_scenes() -> None:
    images = [PartShapes(seed)[index].image for seed in (1, 2) for index in (0, 1)]
    assert all(not np.array_equal(a, b) for a, b in pairwise(images))


def test_sizes_show_the_same_scene() -> None:
    small, large = PartShapes(1, 96)[4], PartShapes(1, 192)[4]
    pairs = zip(small.objects, large.objects, strict=True)
    assert all((a.category, a.variety) == (b.category, b.variety) for a, b in pairs)
    assert np.mean(small.objects[0].mask != large.objects[0].mask[::2, ::2]) < 0.03


def test_images_and_masks_have_the_size_asked_for() -> None:
    for size in (64, 96, 128):
        scene = PartShapes(0, size)[0]
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        masks = [part.mask for found in scene.objects for part in found.parts] + [
            o.mask for o in scene.objects
        ]
        assert all(mask.shape == (size, size) and mask.dtype == np.bool_ for mask in masks)


def test_parts_are_disjoint_and_cover_their_object(scenes: list[Scene]) -> None:
    for scene in scenes:
        for found in scene.objects:
            cover = np.sum([part.mask for part in found.parts], axis=0)
            assert np.array_equal(cover, found.mask.astype(int))
            assert all(part.mask.any() for part in found.parts)


def test_objects_are_disjoint_and_mostly_visible(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert 1 <= len(scene.objects) <= 3
        assert np.sum([found.mask for found in scene.objects], axis=0).max() == 1
        assert all(0.4 <= found.visible <= 1 for found in scene.objects)


def test_every_class_part_and_most_varieties_occur(scenes: list[Scene]) -> None:
    found = [one for scene in scenes for one in scene.objects]
    assert {one.category for one in found} == set(PartShapes.CATEGORIES)
    names = {
        name: {part.name for one in found if one.category == name for part in one.parts}
        for name in PartShapes.CATEGORIES
    }
    assert names == {name: set(parts) for name, parts in PartShapes.PART_NAMES.items()}
    assert {one.variety for one in found} == set(range(PartShapes.NUM_VARIETIES))


def test_images_use_the_range_of_brightness(scenes: list[Scene]) -> None:
    assert np.mean([scene.image.std() for scene in scenes]) > 25
    assert 60 < np.mean([scene.image.mean() for scene in scenes]) < 190


def test_there_is_no_last_scene() -> None:
    with pytest.raises(IndexError, match="at least 0"):
        PartShapes(0)[-1]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
def test_written_files_hold_the_scenes(tmp_path: Path) -> None:
    write_coco(tmp_path, "val", seed=2, count=6, size=64)
    judge = COCO(str(tmp_path / "objects_val.json"))
    data = PartShapes(2, 64)
    for number, entry in judge.imgs.items():
        scene = data[number - 1]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "val" / entry["file_name"])), scene.image)
        annotations = judge.imgToAnns[number]
        assert [judge.cats[a["category_id"]]["name"] for a in annotations] == [
            o.category for o in scene.objects
        ]
        pairs = zip(annotations, scene.objects, strict=True)
        assert all(np.array_equal(judge.annToMask(a), o.mask) for a, o in pairs)


def test_any_number_of_workers_writes_the_same_files(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for root, workers in ((alone, 1), (together, 2)):
        write_coco(root, "val", seed=2, count=35, size=32, workers=workers)
    files = sorted(path.relative_to(alone) for path in alone.rglob("*.*"))
    assert len(files) == 35 + 3
    assert all((alone / file).read_bytes() == (together / file).read_bytes() for file in files)


def test_written_parts_belong_to_their_objects(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", seed=2, count=6, size=64)
    objects = json.loads((tmp_path / "objects_train.json").read_text())
    parts = json.loads((tmp_path / "parts_train.json").read_text())
    area = {a["id"]: 0 for a in objects["annotations"]}
    for part in parts["annotations"]:
        area[part["object_id"]] += part["area"]
    assert area == {a["id"]: a["area"] for a in objects["annotations"]}
    names = {(c["supercategory"], c["name"]) for c in parts["categories"]}
    assert names <= {(k, f"{k} {p}") for k, parts in PartShapes.PART_NAMES.items() for p in parts}
