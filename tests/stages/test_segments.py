"""Stage 2: objects of two colours, with the colours themselves as features, fall apart along the border."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from partdistillation.config import CrfConfig, Inputs, Recipe, SegmentsConfig
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode, encode
from partdistillation.runs.records import Object, ObjectRow, SegmentRow
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import objects, segments
from partdistillation.stages.pixel_features import PixelFeatures

RED, BLUE, GREY = (200, 30, 30), (30, 30, 200), (120, 120, 120)
NO_CRF = CrfConfig(enabled=False)


def colour_map(image: np.ndarray) -> Tensor:
    """The simplest encoder: a pixel's colour, on the field padded to multiples of 32."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)))
    return torch.from_numpy(padded).movedim(-1, 0).float()


colours = PixelFeatures(colour_map)


def two_coloured(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image with a rectangle, red on the left and blue on the right; the red and the blue mask."""
    image = np.full((height, width, 3), GREY, np.uint8)
    red, blue = (np.zeros((height, width), np.bool_) for _ in range(2))
    red[height // 4 : -4, 4 : width // 2] = True
    blue[height // 4 : -4, width // 2 : -4] = True
    image[red], image[blue] = RED, BLUE
    return image, red, blue


def halves(labels: np.ndarray) -> list[bytes]:
    return sorted((labels == value).tobytes() for value in np.unique(labels[labels > 0]))


def test_objects_are_refined_together_as_one_by_one() -> None:
    """What a GPU does, here on the CPU."""
    image, red, blue = two_coloured(64, 80)
    swapped = np.random.default_rng(0).random(red.shape) < 0.2
    whole = np.where(red | blue, 1 + (blue ^ swapped), 0)
    labels = [whole, np.where(red, whole, 0)]
    together = segments._refine_together(image, labels, CrfConfig(), torch.device("cpu"))
    for found, one in zip(together, labels, strict=True):
        np.testing.assert_array_equal(found, segments._refine(image, one, CrfConfig()))
    np.testing.assert_array_equal(together[0], np.where(red, 1, np.where(blue, 2, 0)))


@pytest.mark.parametrize("crf", [NO_CRF, CrfConfig()], ids=["plain", "crf"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 56)])
def test_two_colours_are_two_segments(height: int, width: int, crf: CrfConfig) -> None:
    image, red, blue = two_coloured(height, width)
    config = SegmentsConfig(k=2, image_size=max(height, width), crf=crf, metric="l2")
    (labels,) = segments.segment_objects(image, (red | blue)[None], colours, config, [7])
    assert halves(labels) == sorted([red.tobytes(), blue.tobytes()])


def test_labels_come_back_at_the_images_own_size() -> None:
    image, red, blue = two_coloured(80, 128)
    config = SegmentsConfig(k=2, image_size=64, crf=NO_CRF, metric="l2")
    (labels,) = segments.segment_objects(image, (red | blue)[None], colours, config, [7])
    assert labels.shape == image.shape[:2]
    assert halves(labels) == sorted([red.tobytes(), blue.tobytes()])


def test_the_crf_keeps_to_the_object() -> None:
    image, red, blue = two_coloured(64, 64)
    image[:] = GREY  # nothing in the image tells the object from the background
    config = SegmentsConfig(k=2, image_size=64)
    (labels,) = segments.segment_objects(image, (red | blue)[None], colours, config, [7])
    assert np.array_equal(labels > 0, red | blue)


def test_an_object_in_the_background_s_colours_has_no_holes() -> None:
    image, red, blue = two_coloured(64, 64)
    rows, columns = np.nonzero(red)
    middle = (slice(rows.min() + 4, rows.max() - 3), slice(columns.min() + 4, columns.max() - 3))
    image[middle] = image[0, 0]  # seen through, as between the spokes of a wheel
    config = SegmentsConfig(k=2, image_size=64)
    (labels,) = segments.segment_objects(image, (red | blue)[None], colours, config, [7])
    assert np.array_equal(labels > 0, red | blue)


def test_an_object_that_vanishes_at_the_working_size_has_no_segments() -> None:
    image, red, blue = two_coloured(64, 64)
    speck = np.zeros((64, 64), bool)
    speck[2, 2] = True  # at half the size, pixels 1, 3, 5 ... are looked at
    config = SegmentsConfig(k=2, image_size=32, crf=NO_CRF)
    for masks in (np.stack([speck, red | blue]), speck[None]):
        labels = segments.segment_objects(image, masks, colours, config, list(range(len(masks))))
        assert [bool(one.any()) for one in labels] == [False, True][: len(masks)]


def an_object(object_id: int, mask: np.ndarray) -> Object:
    return Object(object_id, "flag", 1.0, int(mask.sum()), (0.0, 0.0, 1.0, 1.0), encode(mask))


def test_a_row_and_its_segments(tmp_path: Path) -> None:
    image, red, blue = two_coloured(48, 64)
    Image.fromarray(image).save(tmp_path / "flag.png")
    other = ~(red | blue)
    objects = (an_object(0, red | blue), an_object(1, other))
    row = ObjectRow("7", "flag.png", 64, 48, "ok", "", objects)
    config = SegmentsConfig(k=2, image_size=64, crf=NO_CRF, metric="l2")
    found = segments.segment_row(row, tmp_path, colours, config)
    assert (found.image_id, found.file_name, found.width, found.height) == ("7", "flag.png", 64, 48)
    flag, grey = found.objects
    masks = [decode(one.rle, 48, 64) for one in flag.segments]
    assert sorted(mask.tobytes() for mask in masks) == sorted([red.tobytes(), blue.tobytes()])
    assert [one.area for one in flag.segments] == [mask.sum() for mask in masks]
    assert [one.area for one in grey.segments] == [other.sum()]  # one colour, so one segment
    alone = segments.segment_row(
        ObjectRow("7", "flag.png", 64, 48, "ok", "", objects[:1]), tmp_path, colours, config
    )
    assert alone.objects == found.objects[:1]


def test_pieces_can_be_segments_of_their_own() -> None:
    labels = np.zeros((10, 20), np.int64)
    labels[2:8, :] = 1
    labels[3:7, 2:6] = labels[3:7, 12:17] = 2
    labels[4, 9] = 2  # a speck
    mask = labels > 0
    whole = segments._segments(labels, mask, 0.0)
    assert [segment.area for segment in whole] == [83, 37]
    apart = segments._segments(labels, mask, 0.05)
    assert [segment.area for segment in apart] == [83, 16, 20]
    assert decode(apart[2].rle, 10, 20).sum() == decode(apart[2].rle, 10, 20)[3:7, 12:17].sum()
    assert [segment.area for segment in segments._segments(labels, mask, 1 / 120)] == [83, 16, 20, 1]


def test_seeds_differ_by_object_image_and_setting() -> None:
    seeds = {
        segments.object_seed(*key)
        for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a/1", 0)]
    }
    assert len(seeds) == 5


def test_many_objects_are_segmented_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, red, blue = two_coloured(64, 64)
    Image.fromarray(image).save(tmp_path / "a.png")
    rle = encode(red | blue)
    instances = tuple(Object(number, "car", 1.0, 1, (0.0, 0.0, 1.0, 1.0), rle) for number in range(25))
    row = ObjectRow("a", "a.png", 64, 64, "ok", "", instances)
    config = SegmentsConfig(k=2, image_size=64, metric="l2", crf=NO_CRF)
    whole = segments.segment_row(row, tmp_path, colours, config)
    monkeypatch.setattr(segments, "_PIXELS_AT_ONCE", 1)
    assert segments.segment_row(row, tmp_path, colours, config) == whole
    assert [segmented.object_id for segmented in whole.objects] == list(range(25))


def test_a_photograph_that_changed_its_size_is_said(tmp_path: Path) -> None:
    image, red, _ = two_coloured(64, 64)
    Image.fromarray(image[:, :60]).save(tmp_path / "a.png")
    instances = (Object(0, "car", 1.0, 1, (0.0, 0.0, 1.0, 1.0), encode(red)),)
    row = ObjectRow("a", "a.png", 64, 64, "ok", "", instances)
    with pytest.raises(
        InputError, match=r"expected 64 x 64 pixels as when its objects were found, found 60 x"
    ):
        segments.segment_row(row, tmp_path, colours, SegmentsConfig(crf=NO_CRF))


def test_fewer_segments_stand_beside_the_others(drawings: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    def labelled(name: str, k: int, coarse_k: int) -> Path:
        inputs = Inputs(out=tmp_path / name, images=drawings / "val", objects=drawings / "objects_val.json")
        config = replace(
            tiny_recipe.segments, k=k, coarse_k=coarse_k, features="rgb_xy", metric="l2", crf=NO_CRF
        )
        recipe = replace(tiny_recipe, segments=config)
        objects.run(inputs, recipe)
        segments.run(inputs, recipe)
        return inputs.out

    both, fine, coarse = labelled("both", 5, 2), labelled("fine", 5, 0), labelled("coarse", 2, 0)
    for folder, alone in (("segments", fine), ("coarse_segments", coarse)):
        assert contents_hash(both / folder) == contents_hash(alone / "segments")
    assert not (fine / "coarse_segments").exists()
    rows = read_rows(both / "coarse_segments", SegmentRow)
    assert {len(grouped.segments) for row in rows for grouped in row.objects} == {2}
