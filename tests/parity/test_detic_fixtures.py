"""Detic against the released code's values, step by step (fixture i)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from partdistillation.objects.detic.network import DeticNetwork, paste, rescale
from partdistillation.objects.detic.official import (
    infer_config,
    load_official_state_dict,
    official_embeddings,
)
from partdistillation.objects.detic.proposals import Proposals

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def archive(fixtures: Path) -> Any:
    return np.load(fixtures / "i_detic_tiny.npz")


@pytest.fixture(scope="module")
def network(archive: Any, fixtures: Path) -> DeticNetwork:
    state = official_state(archive)
    settings = yaml.safe_load((fixtures / "i_detic_tiny.yaml").read_text(encoding="utf-8"))
    return load_official_state_dict(state, infer_config(state, settings))


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


@torch.no_grad()
def test_every_step_of_the_network(network: DeticNetwork, archive: Any, image: np.ndarray) -> None:
    levels = network.levels(network.pixels([image]))
    for number, level in enumerate(levels, start=3):
        close(level, archive[f"feat_p{number}"])
    maps = network.proposals(levels)
    for index, one in enumerate(maps):
        close(one.logits, archive[f"head_hm{index}"])
        close(one.distances, archive[f"head_reg{index}"])
    (found,) = network.proposals.decode(maps)
    order = matching(found.boxes, torch.from_numpy(archive["prop_boxes"]))
    proposals = Proposals(found.boxes[order], found.scores[order])
    close(proposals.boxes, archive["prop_boxes"])
    close(proposals.scores, archive["prop_scores"])
    for index, stage in enumerate(network.cascade.run(levels, [proposals], [image.shape[:2]])):
        classifier = archive[f"sd::roi_heads.box_predictor.{index}.cls_score.zs_weight"]
        close(stage.vectors @ torch.from_numpy(classifier).float(), archive[f"stage{index}_logits"])
        close(stage.deltas, archive[f"stage{index}_deltas"])
        close(stage.boxes, archive[f"stage{index}_boxes"], 2e-4)


def test_detections(network: DeticNetwork, archive: Any, image: np.ndarray, embeddings: Tensor) -> None:
    (found,) = network.detect_resized([image], embeddings)
    order = matching(
        with_class(found.boxes, found.classes),
        with_class(*(torch.from_numpy(archive[name]) for name in ("boxes", "classes"))),
    )
    close(found.boxes[order], archive["boxes"])
    close(found.scores[order], archive["scores"])
    assert found.classes[order].tolist() == archive["classes"].tolist()
    close(found.masks[order], archive["mask_probs"][:, 0])


def test_masks_at_the_image_s_own_size(
    network: DeticNetwork, archive: Any, image: np.ndarray, embeddings: Tensor
) -> None:
    (small,) = network.detect_resized([image], embeddings)
    _, height, width = archive["final_masks_shape"].tolist()
    found = rescale(small, (image.shape[0], image.shape[1]), (height, width))
    order = matching(
        with_class(found.boxes, found.classes),
        with_class(*(torch.from_numpy(archive[name]) for name in ("final_boxes", "final_classes"))),
    )
    close(found.boxes[order], archive["final_boxes"])
    close(found.scores[order], archive["final_scores"])
    assert found.classes[order].tolist() == archive["final_classes"].tolist()
    masks = np.stack(list(paste(found.boxes[order], found.masks[order], height, width)))
    expected = np.unpackbits(archive["final_masks"], axis=-1)[..., :width].astype(bool)
    assert expected.any((1, 2)).all()
    # a pixel may lie on the threshold
    assert (masks != expected).sum() <= 1e-4 * expected.sum()


def test_a_saved_network_is_the_same(
    network: DeticNetwork, image: np.ndarray, embeddings: Tensor, tmp_path: Path
) -> None:
    network.save_pretrained(tmp_path / "detic")
    again = DeticNetwork.from_pretrained(tmp_path / "detic")
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
