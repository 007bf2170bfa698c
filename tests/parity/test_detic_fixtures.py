"""Detic against the released code's values, step by step (fixture i)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from partdistillation.convert.detic import load_official_state_dict
from partdistillation.objects.detic import files
from partdistillation.objects.detic.network import DeticNetwork

from .detic import Steps, compute_steps, official_embeddings

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def archive(fixtures: Path) -> Any:
    return np.load(fixtures / "i_detic_tiny.npz")


@pytest.fixture(scope="module")
def network(archive: Any, fixtures: Path) -> DeticNetwork:
    state = official_state(archive)
    settings = yaml.safe_load((fixtures / "i_detic_tiny.yaml").read_text(encoding="utf-8"))
    return load_official_state_dict(state, settings)


@pytest.fixture(scope="module")
def image(archive: Any) -> np.ndarray:
    return np.ascontiguousarray(archive["image"].transpose(1, 2, 0))


@pytest.fixture(scope="module")
def embeddings(archive: Any) -> Tensor:
    """The checkpoint's own classes: here the stages' embeddings differ, unlike in the published one."""
    return official_embeddings(official_state(archive))


def official_state(archive: Any) -> dict[str, np.ndarray]:
    return {name[4:]: archive[name] for name in archive.files if name.startswith("sd::")}


def close(found: Tensor, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=tolerance, rtol=0)


def test_the_shapes_tell_the_architecture(network: DeticNetwork) -> None:
    config = network.config
    assert (config.embed_dim, config.depths, config.num_heads) == (16, (1, 2, 1, 1), (1, 2, 4, 8))
    assert (config.window_size, config.mlp_ratio, config.pyramid_channels) == (4, 2.0, 32)
    assert (config.proposal_convs, config.fc_dims, config.embedding_dim) == (2, (48, 48), 24)
    assert (config.mask_convs, config.mask_channels, config.box_resolution) == (2, 32, 7)
    assert (config.proposals, config.score_threshold, config.max_detections) == (40, 0.02, 20)


@pytest.fixture(scope="module")
def steps(network: DeticNetwork, archive: Any, image: np.ndarray, embeddings: Tensor) -> Steps:
    _, height, width = archive["final_masks_shape"].tolist()
    return compute_steps(network, image, embeddings, size=(height, width))


def test_the_pyramid_and_the_heat_maps(steps: Steps, archive: Any) -> None:
    for number, level in enumerate(steps.levels, start=3):
        close(level, archive[f"feat_p{number}"])
    for index, one in enumerate(steps.heat_maps):
        close(one.logits, archive[f"head_hm{index}"])
        close(one.distances, archive[f"head_reg{index}"])


def test_proposals_and_the_cascade(steps: Steps, archive: Any) -> None:
    order = matching(steps.proposals.boxes, torch.from_numpy(archive["prop_boxes"]))
    close(steps.proposals.boxes[order], archive["prop_boxes"])
    close(steps.proposals.scores[order], archive["prop_scores"])
    for index, (stage, logits) in enumerate(zip(steps.stages, steps.logits, strict=True)):
        close(logits[order], archive[f"stage{index}_logits"])
        close(stage.deltas[order], archive[f"stage{index}_deltas"])
        close(stage.boxes[order], archive[f"stage{index}_boxes"], 2e-4)


def test_detections(steps: Steps, archive: Any) -> None:
    found = steps.detections
    order = matching(
        with_class(found.boxes, found.classes),
        with_class(*(torch.from_numpy(archive[name]) for name in ("boxes", "classes"))),
    )
    close(found.boxes[order], archive["boxes"])
    close(found.scores[order], archive["scores"])
    assert found.classes[order].tolist() == archive["classes"].tolist()
    close(found.masks[order], archive["mask_probs"][:, 0])


def test_masks_at_the_image_s_own_size(steps: Steps, archive: Any) -> None:
    found = steps.rescaled
    order = matching(
        with_class(found.boxes, found.classes),
        with_class(*(torch.from_numpy(archive[name]) for name in ("final_boxes", "final_classes"))),
    )
    close(found.boxes[order], archive["final_boxes"])
    close(found.scores[order], archive["final_scores"])
    assert found.classes[order].tolist() == archive["final_classes"].tolist()
    expected = np.unpackbits(archive["final_masks"], axis=-1)[..., : steps.masks.shape[2]].astype(bool)
    assert expected.any((1, 2)).all()
    # a pixel may lie on the threshold
    assert (steps.masks[order] != expected).sum() <= 1e-4 * expected.sum()


def test_a_saved_network_is_the_same(
    network: DeticNetwork, image: np.ndarray, embeddings: Tensor, tmp_path: Path
) -> None:
    files.save(tmp_path / "detic", network)
    again = files.load(tmp_path / "detic")
    for expected, found in zip(
        network.detect_resized([image], embeddings)[0],
        again.detect_resized([image], embeddings)[0],
        strict=True,
    ):
        assert torch.equal(expected, found)


def with_class(boxes: Tensor, classes: Tensor) -> Tensor:
    """Boxes of different classes are far from each other."""
    return torch.cat([boxes, 1e4 * classes[:, None]], dim=1)


def matching(found: Tensor, expected: Tensor) -> list[int]:
    """For each expected row the nearest one found; each is found once."""
    order: list[int] = torch.cdist(expected, found, p=float("inf")).argmin(1).tolist()
    assert sorted(order) == list(range(len(found)))
    return order
