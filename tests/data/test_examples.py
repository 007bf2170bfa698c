"""Examples from files: masks and labels stay together through the augmentation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.config import TrainingConfig
from partdistillation.data.examples import Example, LabelledImage, LabelledImages, LabelledMask
from partdistillation.data.transforms import augmentation_rng
from partdistillation.errors import InputError
from partdistillation.functional.masks import encode

SIZE = 32
PLAIN = TrainingConfig(image_size=SIZE, scale_min=1.0, scale_max=1.0, flip=0.0)
WILD = TrainingConfig(image_size=SIZE, scale_min=0.5, scale_max=4.0)


@pytest.fixture
def image(tmp_path: Path) -> LabelledImage:
    """Columns of three greys; each is a mask. Labels and object classes say which."""
    greys = np.repeat(np.array([10, 100, 200], np.uint8), (8, 8, 16))
    Image.fromarray(np.broadcast_to(greys[None, :, None], (SIZE, SIZE, 3)).copy()).save(tmp_path / "a.png")
    masks = tuple(
        LabelledMask(encode(np.broadcast_to(greys == grey, (SIZE, SIZE))), label, object_class)
        for grey, label, object_class in ((10, 0, 7), (100, 1, 3), (200, 2, 7))
    )
    return LabelledImage("a.png", SIZE, SIZE, masks)


def one(root: Path, image: LabelledImage, config: TrainingConfig, step: int = 0) -> Example:
    return LabelledImages(root, [image], config).example(0, augmentation_rng(0, step, 0))


def test_at_its_own_size(tmp_path: Path, image: LabelledImage) -> None:
    example = one(tmp_path, image, PLAIN)
    assert example.image[0, ::8, 0].tolist() == [10, 100, 200, 200]
    assert example.masks.shape == (3, SIZE, SIZE)
    assert example.masks[:, 5, ::8].astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]
    assert example.labels.tolist() == [0, 1, 2]
    assert example.object_classes == (3, 7)
    assert example.groups.tolist() == [1, 0, 1]


def test_labels_follow_their_masks(tmp_path: Path, image: LabelledImage) -> None:
    lost = 0
    for step in range(60):
        example = one(tmp_path, image, WILD, step)
        assert example.object_classes == (3, 7)  # the image's, whatever the crop has left
        assert len(example.masks) == len(example.labels) == len(example.groups)
        for mask, label, group in zip(example.masks, example.labels, example.groups, strict=True):
            assert mask.any()
            if mask.any(axis=0).sum() >= 4:  # of fewer columns, most are blurred by resizing
                assert abs(int(np.median(example.image[mask])) - (10, 100, 200)[label]) < 40
            assert group == (1, 0, 1)[label]
        lost += len(example.masks) < 3
    assert 0 < lost < 60


def test_an_example_is_a_function_of_its_generator(tmp_path: Path, image: LabelledImage) -> None:
    first, again, other = (one(tmp_path, image, WILD, step) for step in (1, 1, 2))
    assert (first.image == again.image).all()
    assert (first.masks == again.masks).all()
    assert (first.image != other.image).any()


def test_an_image_without_masks(tmp_path: Path, image: LabelledImage) -> None:
    example = one(tmp_path, LabelledImage("a.png", SIZE, SIZE, ()), PLAIN)
    assert example.masks.shape == (0, SIZE, SIZE)
    assert example.object_classes == ()


def test_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found none: .* min_object_area"):
        LabelledImages(tmp_path, [], PLAIN)


def test_a_file_that_has_changed(tmp_path: Path, image: LabelledImage) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: expected 32 x 32 pixels .* found 30 x 20"):
        one(tmp_path, image, PLAIN)
