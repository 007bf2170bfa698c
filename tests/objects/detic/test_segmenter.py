"""DeticObjects on random weights: the network's detections are the judge of what it makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import decode
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.detic import DeticObjects, files
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.masks import paste
from partdistillation.objects.detic.network import DeticNetwork
from partdistillation.runs.records import Object

CONFIG = DeticConfig(
    embed_dim=8,
    depths=(1, 2, 1, 1),
    num_heads=(1, 2, 2, 4),
    window_size=3,
    pyramid_channels=32,
    proposal_convs=1,
    fc_dims=(24, 16),
    embedding_dim=24,
    mask_convs=1,
    mask_channels=16,
    min_size=120,
    max_size=200,
    max_detections=12,
)
NAMES = ("car", "polar bear", "street lamp")


@pytest.fixture(scope="module")
def network() -> DeticNetwork:
    network = DeticNetwork.create(CONFIG, seed=0)
    torch.nn.init.constant_(network.proposals.distances.get_parameter("bias"), 4.0)  # else boxes have no area
    return network


@pytest.fixture(scope="module")
def saved(network: DeticNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files.save(folder := tmp_path_factory.mktemp("detic"), network)
    return folder


@pytest.fixture
def images() -> list[np.ndarray]:
    """Of three sizes; the network sees the first two at the same."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in ((60, 90), (120, 180), (90, 60))]


def embed(names: Sequence[str]) -> Tensor:
    """A direction for each name."""
    rows = [torch.randn(24, generator=torch.Generator().manual_seed(sum(name.encode()))) for name in names]
    return torch.stack(rows)


@pytest.fixture
def segmenter(network: DeticNetwork) -> DeticObjects:
    return DeticObjects(network, embed, min_score=0.3)


def test_objects_are_the_networks_detections(
    segmenter: DeticObjects, network: DeticNetwork, images: list[np.ndarray]
) -> None:
    assert isinstance(segmenter, ObjectSegmenter)
    assert segmenter.vocabulary is None
    found = segmenter(images, NAMES)
    assert len({one.category for objects in found for one in objects}) > 1
    expected = network.detect(images, embed(NAMES), min_score=0.3)
    for image, objects, detections in zip(images, found, expected, strict=True):
        height, width, _ = image.shape
        masks = list(paste(detections.boxes, detections.masks, height, width))
        kept = [index for index, mask in enumerate(masks) if mask.any()]
        assert len(objects) == len(kept) > 0
        for one, index in zip(objects, kept, strict=True):
            np.testing.assert_array_equal(decode(one.rle, height, width), masks[index])
            assert one.category == NAMES[detections.classes[index]]
            assert one.score == detections.scores[index]
            assert (one.object_id, one.area) == (0, masks[index].sum())


def same(found: Sequence[Object], expected: Sequence[Object]) -> None:
    assert [(one.category, one.rle) for one in found] == [(one.category, one.rle) for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)


def test_images_and_repeated_names_dont_matter(segmenter: DeticObjects, images: list[np.ndarray]) -> None:
    together = segmenter(images, NAMES)
    for image, expected in zip(images, together, strict=True):
        same(segmenter([image], [*NAMES, "car"])[0], expected)


def test_low_scores_are_left_out(segmenter: DeticObjects, images: list[np.ndarray]) -> None:
    (found,) = segmenter(images[:1], NAMES)
    middle = sorted(one.score for one in found)[len(found) // 2]
    (fewer,) = replace(segmenter, min_score=middle)(images[:1], NAMES)
    same(fewer, [one for one in found if one.score > middle])


def test_nothing_to_do(segmenter: DeticObjects, images: list[np.ndarray]) -> None:
    assert segmenter([], NAMES) == []
    assert segmenter(images, []) == [[], [], []]


def test_from_pretrained(
    saved: Path,
    tiny_clip: Path,
    images: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    segmenter = DeticObjects.from_pretrained(saved, min_score=0.1, device="cpu", text_model=tiny_clip)
    found = segmenter(images, NAMES)
    assert all(found)
    assert list((tmp_path / "partdistillation" / "clip").glob("*/*.safetensors"))
    again = DeticObjects.from_pretrained(saved, min_score=0.1, device="cpu", text_model=tiny_clip)
    assert again(images, NAMES) == found


def test_what_cant_be_loaded(network: DeticNetwork, saved: Path, tiny_clip: Path, tmp_path: Path) -> None:
    def refused(source: Path, text: Path, message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            DeticObjects.from_pretrained(source, min_score=0.1, device="cpu", text_model=text)

    refused(tmp_path / "missing", tiny_clip, "partdistill convert detic")
    refused(tiny_clip, tiny_clip, "expected the model_type 'partdistillation-detic', found 'clip_text_model'")
    refused(saved, saved, "expected a CLIP text model")
    narrow = DeticNetwork.create(replace(CONFIG, embedding_dim=8), seed=0)
    files.save(tmp_path / "narrow", narrow)
    refused(tmp_path / "narrow", tiny_clip, r"expected embeddings of 8 values, .*narrow.*, found 24\.")
