"""Detic as a whole, with random weights: sizes, batches, files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from partdistillation.errors import CheckpointError, InputError
from partdistillation.objects.detic import files
from partdistillation.objects.detic import network as module
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.masks import paste
from partdistillation.objects.detic.network import Detections, DeticNetwork, rescale

TINY = DeticConfig(
    embed_dim=8,
    depths=(1, 2, 1, 1),
    num_heads=(1, 2, 2, 4),
    window_size=4,
    mlp_ratio=2.0,
    pyramid_channels=64,
    proposal_convs=1,
    fc_dims=(16, 24),
    embedding_dim=12,
    mask_convs=1,
    mask_channels=8,
    proposals=30,
    score_threshold=0.0,
    max_detections=20,
    min_size=64,
    max_size=110,
)


@pytest.fixture(scope="module")
def network() -> DeticNetwork:
    network = DeticNetwork.create(TINY, seed=0)
    # boxes of several cells: as drawn, many have no extent
    network.proposals.distances.bias = torch.nn.Parameter(torch.full((4,), 2.0))
    return network


@pytest.fixture(scope="module")
def embeddings() -> Tensor:
    return torch.randn(9, 12, generator=torch.Generator().manual_seed(0))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blurred noise, so that proposals differ."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    return np.repeat(np.repeat(coarse, 16, 0), 16, 1)[:height, :width]


def same(found: Detections, expected: Detections) -> None:
    """Up to rounding, and so up to the order of equal scores."""
    assert len(found.scores) == len(expected.scores) > 0
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.boxes.sum(0), expected.boxes.sum(0), atol=1e-1, rtol=1e-4)
    assert sorted(found.classes.tolist()) == sorted(expected.classes.tolist())


def test_what_comes_back(network: DeticNetwork, embeddings: Tensor) -> None:
    (found,) = network.detect([photo(150, 100)], embeddings)
    assert len(found.scores) == 20
    assert found.masks.shape == (20, 28, 28)
    assert (found.scores[:-1] >= found.scores[1:]).all()
    assert set(found.classes.tolist()) <= set(range(9))
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= torch.tensor([100.0, 150.0])).all()
    assert not found.scores.requires_grad
    masks = list(paste(found.boxes, found.masks, 150, 100))
    assert {mask.shape for mask in masks} == {(150, 100)}


def test_limits(network: DeticNetwork, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo(64, 64)
    (found,) = network.detect([image], embeddings)
    with monkeypatch.context() as patch:
        patch.setattr(network, "config", replace(network.config, max_detections=3))
        (few,) = network.detect([image], embeddings)
    torch.testing.assert_close(few.scores, found.scores[:3])
    least = float(found.scores[6])
    (good,) = network.detect([image], embeddings, min_score=least)
    assert len(good.scores) == 6
    assert network.detect([image], embeddings, min_score=1.0)[0].masks.shape == (0, 28, 28)


def test_the_length_of_embeddings_says_nothing(network: DeticNetwork, embeddings: Tensor) -> None:
    image = photo(64, 64)
    same(network.detect([image], 7 * embeddings)[0], network.detect([image], embeddings)[0])
    each = embeddings.expand(3, -1, -1)
    same(network.detect([image], each)[0], network.detect([image], embeddings)[0])


@pytest.mark.parametrize("chunk", [1, 4])
def test_the_chunk_changes_nothing(
    network: DeticNetwork, embeddings: Tensor, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo(80, 64)
    (whole,) = network.detect([image], embeddings)
    monkeypatch.setattr(module, "CHUNK", chunk)
    same(network.detect([image], embeddings)[0], whole)


def test_an_image_s_objects_don_t_depend_on_the_others(network: DeticNetwork, embeddings: Tensor) -> None:
    sizes = [(64, 64), (30, 90), (64, 60), (200, 64), (64, 64)]
    images = [photo(*size, seed=seed) for seed, size in enumerate(sizes)]
    together = network.detect(images, embeddings)
    for image, found in zip(images, together, strict=True):
        same(found, network.detect([image], embeddings)[0])


def test_nothing_to_do(network: DeticNetwork, embeddings: Tensor) -> None:
    assert network.detect([], embeddings) == []
    (found,) = network.detect([photo(64, 64)], embeddings[:0])
    assert [len(values) for values in found] == [0, 0, 0, 0]


def test_no_proposals(embeddings: Tensor) -> None:
    network = DeticNetwork.create(TINY, seed=0)
    network.proposals.heat.bias = torch.nn.Parameter(torch.tensor([-100.0]))
    found = network.detect([photo(64, 64), photo(64, 64)], embeddings)
    assert [len(one.boxes) for one in found] == [0, 0]


def test_strange_images(network: DeticNetwork, embeddings: Tensor) -> None:
    """One pixel, a strip, a view that runs backwards, one that can't be written to."""
    frozen = photo(64, 64)
    frozen.setflags(write=False)
    images = [photo(1, 1), photo(2, 300), photo(64, 64)[::-1], frozen]
    for image, found in zip(images, network.detect(images, embeddings), strict=True):
        limit = torch.tensor([image.shape[1], image.shape[0]])
        assert (found.boxes[:, 2:] <= limit).all()


def test_embeddings_of_another_model(network: DeticNetwork) -> None:
    with pytest.raises(InputError, match=r"12 numbers.*\(9, 13\)"):
        network.detect([photo(64, 64)], torch.zeros(9, 13))
    with pytest.raises(InputError, match="each of 3 stages"):
        network.detect([photo(64, 64)], torch.zeros(2, 9, 12))


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again = (DeticNetwork.create(TINY, seed=3) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    torch.testing.assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)


def test_boxes_at_another_size() -> None:
    boxes = torch.tensor([[1.0, 2.0, 11.0, 22.0], [90.0, 0.0, 120.0, 10.0], [100.0, 0.0, 120.0, 10.0]])
    found = Detections(boxes, torch.tensor([0.3, 0.2, 0.1]), torch.tensor([4, 5, 6]), torch.zeros(3, 28, 28))
    # twice as tall, three times as wide; the last box lies outside
    moved = rescale(found, (50, 100), (100, 300))
    torch.testing.assert_close(moved.boxes, torch.tensor([[3.0, 4.0, 33.0, 44.0], [270.0, 0.0, 300.0, 20.0]]))
    assert moved.classes.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (800, 1067)),
        (640, 480, (1067, 800)),
        (500, 1000, (667, 1333)),
        (10, 1000, (13, 1333)),
        (1, 5000, (1, 1333)),
    ],
)
def test_the_published_network_s_image_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    assert DeticConfig().resized_size(height, width) == expected


# ---------------------------------------------------------------------- files


@pytest.fixture
def directory(network: DeticNetwork, tmp_path: Path) -> Path:
    files.save(tmp_path / "detic", network)
    return tmp_path / "detic"


def test_everything_comes_back(network: DeticNetwork, directory: Path) -> None:
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "model.safetensors",
        "sha256.json",
    ]
    again = files.load(directory)
    assert again.config == network.config
    assert not again.training
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_saving_again_takes_the_old_one_s_place(directory: Path) -> None:
    other = DeticNetwork.create(TINY, seed=1)
    files.save(directory, other)
    again = files.load(directory)
    torch.testing.assert_close(again.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_the_file_has_the_names_that_transformers_publishes(directory: Path) -> None:
    names = load_file(directory / "model.safetensors").keys()
    assert "backbone.encoder.layers.1.blocks.0.attention.self.query.weight" in names
    assert "cascade.2.layers.1.weight" in names


def test_directories_that_aren_t_a_detic(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found no config\.json.*convert detic"):
        files.load(tmp_path / "nothing")
    (directory / "config.json").write_text(json.dumps({"model_type": "mask2former"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="found 'mask2former'"):
        files.load(directory)
    (directory / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="expected a JSON object with a model's settings, found a list"):
        files.load(directory)
    (directory / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json: expected JSON"):
        files.load(directory)


def test_a_field_too_few(directory: Path) -> None:
    values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    del values["temperature"]
    values["colour"] = "red"
    (directory / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match="missing or unknown: colour, temperature"):
        files.load(directory)


def test_weights_that_don_t_fit(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    del weights["masks.logits.bias"]
    del weights["backbone.embeddings.norm.weight"]
    weights["masks.other"] = torch.zeros(1)
    weights["proposals.heat.weight"] = torch.zeros(1, 64, 5, 5)
    weights["backbone.embeddings.norm.bias"] = torch.zeros(9)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        files.load(directory)
    message = str(caught.value)
    assert "missing masks.logits.bias" in message
    assert "embeddings.norm.weight" in message
    assert "unexpected masks.other" in message
    assert "proposals.heat.weight has shape (1, 64, 5, 5), expected (1, 64, 3, 3)" in message
    assert "embeddings.norm.bias has shape (9,), expected (8,)" in message


def test_a_damaged_file(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="can't be read"):
        files.load(directory)


def test_settings_that_make_no_network(directory: Path) -> None:
    values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    values["depths"] = [1, 2, 1]  # no stage of stride 32
    (directory / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no network can be made"):
        files.load(directory)
