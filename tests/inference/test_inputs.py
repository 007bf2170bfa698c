"""Objects and photographs in the forms that people have them in: the same result, or a clear error."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partdistillation.data.images import load_image
from partdistillation.errors import ConfigError, InputError
from partdistillation.inference import FoundObject, ObjectMask, PartSegmenter
from partdistillation.inference.inputs import are_several, instances_of, photograph
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former

HEIGHT, WIDTH = 40, 60
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
MASK[5:30, 2:30] = True
POLYGON = [[2, 5, 30, 5, 30, 30, 2, 30]]
LOOSE: dict[str, Any] = {"min_ratio": 0.0, "min_score": 0.0}


@pytest.fixture
def part_model(small_network: PartMask2Former) -> PartMask2Former:
    network = small_network.with_head(["car", "cat"], num_parts=3, seed=1)
    assert isinstance(network.class_predictor, PartHead)
    with torch.no_grad():
        network.class_predictor.rows.mul_(8)
    return network


@pytest.fixture
def segmenter(part_model: PartMask2Former) -> PartSegmenter:
    return PartSegmenter(part_model)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


# ---------------------------------------------------------------------- objects


def test_masks_of_all_kinds_give_the_same_parts_and_picture(segmenter: PartSegmenter) -> None:
    expected = segmenter(IMAGE, [ObjectMask(MASK, "car", 0.5)], **LOOSE)
    assert expected.objects[0].parts
    for mask in (MASK.astype(np.uint8) * 255, MASK.astype(np.float32), torch.from_numpy(MASK), POLYGON):
        result = segmenter(IMAGE, [ObjectMask(mask, "car", np.float32(0.5))], **LOOSE)
        assert result.to_json() == expected.to_json()
        np.testing.assert_array_equal(np.asarray(result.plot()), np.asarray(expected.plot()))


def test_any_iterable_of_objects(segmenter: PartSegmenter) -> None:
    wanted = [ObjectMask(MASK, "car", 0.5), ObjectMask(~MASK, "cat")]
    expected = segmenter(IMAGE, wanted, **LOOSE).to_json()

    def pairs() -> Iterator[Any]:
        yield MASK.astype(np.uint8), np.str_("car"), np.float64(0.5)
        yield (~MASK, "cat")

    for objects in (iter(wanted), pairs(), tuple(wanted), {name: name for name in wanted}.values()):
        assert segmenter(IMAGE, objects, **LOOSE).to_json() == expected


def test_an_object_mask_is_clean() -> None:
    wanted = ObjectMask(MASK.astype(np.uint8) * 255, np.str_("car"), np.float32(0.5))
    assert isinstance(wanted.mask, np.ndarray)
    assert (str(wanted.mask.dtype), type(wanted.category), type(wanted.score)) == ("bool", str, float)
    (instance,) = instances_of([ObjectMask(POLYGON, "car")], HEIGHT, WIDTH)
    np.testing.assert_array_equal(instance.mask, MASK)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (3, "found int"),
        ("car", "found str"),
        (ObjectMask(MASK, "car"), "found ObjectMask; give a list of"),
        ((MASK, "car"), "object 0: .* found ndarray; give a list of"),
        ({"car": MASK}, "object 0: .* found str"),
        (MASK[None], "object 0: .* found ndarray"),
        ([(MASK, "car"), None], "object 1: .* found NoneType"),
        ([(MASK, 3)], "found tuple"),
        ([(MASK, "car", None)], "a score as a finite number, found nothing"),
        ([(MASK * 0.5, "car")], r"such as 0\.5"),
        ([(MASK[:20], "car")], r"found \(20, 60\)"),
        ([(MASK & False, "car")], "0 pixels in a mask of 'car'"),
        ([FoundObject("car", 1.0, MASK[:20])], r"found \(20, 60\)"),
    ],
)
def test_what_objects_may_not_be(segmenter: PartSegmenter, objects: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segmenter(IMAGE, objects)


@pytest.mark.usefixtures("unchecked")
def test_what_an_object_mask_may_not_be() -> None:
    wrong: list[tuple[Any, ...]] = [(None, "car"), (MASK, None), (MASK, "car", "high"), (MASK * 3, "car")]
    for arguments in wrong:
        with pytest.raises(InputError):
            ObjectMask(*arguments)


# ---------------------------------------------------------------------- photographs


def test_images_are_seen_as_their_files(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    alpha = random.integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8)
    grey = IMAGE[:, :, 0]
    deep = Image.fromarray(random.integers(0, 65536, (HEIGHT, WIDTH), np.uint16))
    palette = Image.fromarray(IMAGE).quantize(9)
    pairs: list[tuple[Any, Image.Image]] = [
        (np.concatenate([IMAGE, alpha], axis=2), Image.fromarray(np.concatenate([IMAGE, alpha], axis=2))),
        (grey, Image.fromarray(grey)),
        (grey[:, :, None], Image.fromarray(grey)),
        (torch.from_numpy(IMAGE), Image.fromarray(IMAGE)),
        (IMAGE[:, :, ::-1], Image.fromarray(np.ascontiguousarray(IMAGE[:, :, ::-1]))),
        (deep, deep),
        (palette, palette),
    ]
    for image, saved in pairs:
        saved.save(tmp_path / "a.png")
        expected = load_image(tmp_path / "a.png")
        contents = (tmp_path / "a.png").read_bytes()
        opened = Image.open(tmp_path / "a.png"), io.BytesIO(contents)
        for form in (image, saved, contents, memoryview(contents), *opened):
            assert not are_several(form)
            np.testing.assert_array_equal(photograph(form)[0], expected)


def test_several_photographs(segmenter: PartSegmenter, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    single = segmenter(IMAGE, [(MASK, "car")], **LOOSE)
    first, second = segmenter([tmp_path / "a.png", IMAGE], [[(MASK, "car")], []], **LOOSE)
    assert (first.file_name, second.objects) == ("a.png", ())
    assert first.to_json().replace("a.png", "") == single.to_json()
    with pytest.raises(InputError, match=r"each of 2 photographs .* found 1"):
        segmenter([IMAGE, IMAGE], [[(MASK, "car")]])
    assert segmenter([]) == []


@pytest.mark.usefixtures("unchecked")
def test_what_photographs_may_not_be(segmenter: PartSegmenter) -> None:
    closed = Image.fromarray(IMAGE)
    closed.close()
    shut = io.BytesIO()
    shut.close()
    contents = encoded(Image.fromarray(IMAGE))
    wrong: list[tuple[Any, str]] = [
        (None, "found NoneType"),
        (3, "found int"),
        (IMAGE.astype(np.float32), "uint8 .* found float32"),
        (IMAGE.transpose(2, 0, 1), "put the channels last"),
        (IMAGE[:0], "found uint8"),
        (closed, "open and whole"),
        (b"", "an image's bytes: .* empty"),
        (contents[:2000], "an image's bytes: .* truncated"),
        (io.StringIO("text"), "opened for reading as bytes, found a str"),
        (shut, "opened for reading as bytes, found I/O operation on closed file"),
        (Image.open(io.BytesIO(contents[:2000])), "truncated"),
    ]
    for image, message in wrong:
        with pytest.raises(InputError, match=message):
            segmenter(image, [])


# ---------------------------------------------------------------------- surroundings


def test_another_default_type_of_torch_changes_nothing(part_model: PartMask2Former, tmp_path: Path) -> None:
    part_model.save_pretrained(tmp_path / "model")
    results = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            segmenter = PartSegmenter.from_pretrained(tmp_path / "model", device="cpu")
            results.append(segmenter(IMAGE, [(MASK, "car")], **LOOSE).to_json())
        finally:
            torch.set_default_dtype(torch.float32)
    assert results[0] == results[1]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "expected one of auto, cpu, cuda, cuda:N, mps, found"),
        ("", "expected one of auto, cpu, cuda, cuda:N, mps, found"),
        (None, "expected text, found None"),
        ("cuda:70", "expected 71 GPUs that PyTorch can use, found"),
    ],
)
def test_unknown_devices(part_model: PartMask2Former, tmp_path: Path, device: Any, message: str) -> None:
    part_model.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match=message):
        PartSegmenter.from_pretrained(tmp_path / "model", device=device)
