"""Stage 4 against the authors' released code.

Their filters skip themselves where none passes, their area ratio is taken over the pixels that any query
covers, and their final step drops predictions that miss the ground truth: the tests set or redo that here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.ranking import (
    Distance,
    Parts,
    part_probabilities,
    unique_parts,
    unique_proposals,
)

SCENARIOS = range(4)


@pytest.fixture(scope="module")
def ranking(fixtures: Path) -> dict[str, Any]:
    return dict(np.load(fixtures / "c_part_ranking.npz"))


@pytest.fixture(scope="module")
def inference(fixtures: Path) -> dict[str, Any]:
    return dict(np.load(fixtures / "c2_model_inference.npz"))


@pytest.fixture(scope="module")
def clustering(fixtures: Path) -> dict[str, Any]:
    return dict(np.load(fixtures / "d_classifier_kmeans.npz"))


def masks_of(golden: dict[str, Any], key: str) -> NDArray[np.bool_]:
    width = int(golden[f"{key}_masks_shape"][-1])
    return np.unpackbits(golden[f"{key}_masks"], axis=-1)[..., :width].astype(bool)


def covered(mask_logits: Tensor) -> Tensor:
    return (mask_logits > 0).any(dim=0)


def same_set(golden: dict[str, Any], key: str, ours: dict[str, Tensor]) -> None:
    """Compare predictions regardless of their order (theirs is that of an unsorted top-k)."""
    theirs = {name: golden[f"{key}_{name}"] for name in ours if name != "masks"} | {
        "masks": masks_of(golden, key)
    }
    assert len(theirs["scores"]) == len(ours["scores"])
    mine, other = (np.argsort(np.asarray(found["scores"]), kind="stable") for found in (ours, theirs))
    np.testing.assert_allclose(np.asarray(ours["scores"])[mine], theirs["scores"][other], rtol=1e-5)
    for name in ours.keys() - {"scores"}:
        assert np.array_equal(np.asarray(ours[name])[mine], theirs[name][other]), name


def seen(masks: Tensor, targets: Tensor, threshold: float) -> Tensor:
    """Whether a prediction's best IoU with the ground truth is over their threshold."""
    a, b = masks.flatten(1).float(), targets.flatten(1).float()
    intersection = a @ b.T
    return (intersection / (a.sum(1)[:, None] + b.sum(1) - intersection)).amax(dim=1) > threshold


def part_predictions(
    mask_logits: Tensor, probabilities: Tensor, object_mask: Tensor, mapping: Tensor, *, min_score: float
) -> Parts:
    """Their inference: the best (query, label) pairs, one for each query, made unique and merged."""
    scores, pairs = probabilities.flatten().topk(len(mask_logits))
    queries, labels = pairs // probabilities.shape[1], pairs % probabilities.shape[1]
    return unique_parts(
        mask_logits[queries],
        scores,
        mapping[labels],
        object_mask & covered(mask_logits[queries]),
        min_ratio=0.05,
        min_score=min_score,
        keep_all_if_none=True,
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("mode", ["pp", "raw"])
def test_unique_assignment(ranking: dict[str, Any], scenario: int, mode: str) -> None:
    logits, scores, features = (
        torch.from_numpy(ranking[f"s{scenario}_{n}"]) for n in ("mask_logits", "scores", "feats")
    )
    found = unique_proposals(
        logits,
        scores,
        features,
        covered(logits),
        per_pixel=mode == "pp",
        min_ratio=0.05,
        min_score=0.3,
        keep_all_if_none=True,
    )
    same_set(
        ranking,
        f"s{scenario}_uniq_{mode}",
        {"masks": found.masks, "scores": found.scores, "feats": found.features},
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_unique_assignment_with_classes(ranking: dict[str, Any], scenario: int) -> None:
    logits, scores, labels = (
        torch.from_numpy(ranking[f"s{scenario}_{n}"]) for n in ("mask_logits", "scores", "classes")
    )
    parts = unique_parts(
        logits, scores, labels, covered(logits), min_ratio=0.05, min_score=0.1, keep_all_if_none=True
    )
    same_set(
        ranking,
        f"s{scenario}_uniqcls_pp",
        {"masks": parts.masks, "scores": parts.scores, "labels": parts.labels},
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("mode", ["pp", "raw"])
def test_first_pass(ranking: dict[str, Any], scenario: int, mode: str) -> None:
    logits, features, classes, object_mask = (
        torch.from_numpy(ranking[f"s{scenario}_{name}"])
        for name in ("mask_logits", "feats", "pred_logits", "object_mask")
    )
    found = unique_proposals(
        logits,
        classes.softmax(dim=-1)[:, 0],
        features,
        covered(logits),
        per_pixel=mode == "pp",
        min_ratio=0.05,
        min_score=0.3,
        keep_all_if_none=True,
    )
    ours = {"masks": found.masks & object_mask, "scores": found.scores, "feats": found.features}
    same_set(ranking, f"s{scenario}_pass1_{mode}_prematch", ours)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("name", "distance"), [("l2", "released_21k"), ("dot", "dot")])
def test_second_pass(ranking: dict[str, Any], scenario: int, name: str, distance: Distance) -> None:
    logits, classes, object_mask = (
        torch.from_numpy(ranking[f"s{scenario}_{key}"])
        for key in ("mask_logits", "pred_logits", "object_mask")
    )
    classified = part_probabilities(
        ranking[f"s{scenario}_feats"], ranking[f"s{scenario}_centroids"], distance=distance
    )
    probabilities = classes.softmax(dim=-1)[:, :1] * torch.from_numpy(classified).float()
    parts = part_predictions(logits, probabilities, object_mask, torch.arange(8), min_score=0.1)
    same_set(
        ranking,
        f"s{scenario}_pass2_pp_{name}",
        {"masks": parts.masks, "scores": parts.scores, "labels": parts.labels},
    )


@pytest.mark.parametrize("scenario", range(2))
def test_proposal_inference(inference: dict[str, Any], scenario: int) -> None:
    logits, classes, object_mask, targets = (
        torch.from_numpy(inference[f"s{scenario}_{key}"])
        for key in ("mask_logits", "logits_agnostic", "object_mask", "target_masks")
    )
    found = unique_proposals(
        logits,
        classes.softmax(dim=-1)[:, 0],
        logits.flatten(1),
        object_mask & covered(logits),
        per_pixel=True,
        min_ratio=0.01,
        min_score=-1,
        keep_all_if_none=True,
    )
    kept = seen(found.masks, targets, 0.001)
    same_set(
        inference, f"s{scenario}_proposal_pp", {"masks": found.masks[kept], "scores": found.scores[kept]}
    )


@pytest.mark.parametrize("scenario", range(2))
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_part_inference(inference: dict[str, Any], scenario: int, mode: str) -> None:
    logits, classes, object_mask, targets, mapping = (
        torch.from_numpy(inference[f"s{scenario}_{key}"])
        for key in ("mask_logits", "logits_classes", "object_mask", "target_masks", "mapping")
    )
    labels = mapping if mode == "eval" else torch.arange(len(mapping))
    parts = part_predictions(logits, classes.softmax(dim=-1)[:, :-1], object_mask, labels, min_score=-1)
    kept = seen(parts.masks, targets, 0.1)
    ours = {"masks": parts.masks[kept], "scores": parts.scores[kept], "classes": parts.labels[kept]}
    same_set(inference, f"s{scenario}_pd_pp_{mode}_pred", ours)


@pytest.mark.parametrize("case", range(3))
def test_probabilities(clustering: dict[str, Any], case: int) -> None:
    features, centroids = clustering[f"feat{case}"], clustering[f"centroids{case}"]
    for distance, name in (("released_21k", "l2_softmax"), ("dot", "dot_softmax")):
        found = part_probabilities(features, centroids, distance=distance)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, clustering[f"{name}{case}"], rtol=2e-5, atol=1e-7)
    norm = -np.sqrt(-clustering[f"true_neg_l2_{case}"].astype(np.float64))
    expected = np.exp(norm) / np.exp(norm).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(part_probabilities(features, centroids, distance="l2"), expected, rtol=1e-3)


@pytest.mark.parametrize("case", range(3))
def test_centroids(clustering: dict[str, Any], case: int) -> None:
    features, theirs = clustering[f"km_feat{case}"], clustering[f"km_centroids{case}_ninit10"]
    ours = cluster_features(features, k=len(theirs), restarts=10, seed=0)
    distances = np.linalg.norm(features[:, None] - ours, axis=2).min(axis=1)
    assert np.square(distances).sum() == pytest.approx(
        float(clustering[f"km_inertia{case}_ninit10"]), rel=1e-5
    )
    np.testing.assert_allclose(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("label", [0, 2])
def test_centroids_of_a_class(clustering: dict[str, Any], label: int) -> None:
    features = clustering["cm_feats"][clustering["cm_labels"] == label]
    ours, theirs = (
        cluster_features(features, k=8, restarts=10, seed=0),
        clustering[f"cm_centroids_class{label}"],
    )
    inertias = [
        np.square(np.linalg.norm(features[:, None] - c, axis=2).min(axis=1)).sum() for c in (ours, theirs)
    ]
    assert inertias[0] <= inertias[1] * 1.001


def test_a_class_with_few_parts_keeps_its_features(clustering: dict[str, Any]) -> None:
    """Six parts, K = 8: theirs are random centroids; ours the six features."""
    features = clustering["cm_feats"][clustering["cm_labels"] == 5]
    assert np.array_equal(cluster_features(features, k=8, restarts=10, seed=0), np.unique(features, axis=0))
