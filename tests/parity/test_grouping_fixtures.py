"""Pixel grouping against the authors' released code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from partdistillation.functional.grouping import Metric, assign_to_centroids, combine_levels, kmeans, mask_at

CASES = [(case, variant) for case in range(3) for variant in ("raw", "norm")]


@pytest.fixture(scope="module")
def golden(fixtures: Path) -> dict[str, Any]:
    return dict(np.load(fixtures / "b_pixel_grouping.npz"))


def features_and_mask(golden: dict[str, Any], case: int, variant: str) -> tuple[Tensor, Tensor]:
    features = combine_levels([torch.from_numpy(golden[f"{level}_{case}"][0]) for level in ("res3", "res4")])
    if variant == "norm":
        features = functional.normalize(features, dim=0)
    return features, torch.from_numpy(golden[f"mask_{case}"])


@pytest.mark.parametrize(("case", "variant"), CASES)
@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize("restarts", [1, 10])
def test_assignment_with_their_centroids(
    golden: dict[str, Any], case: int, variant: str, metric: Metric, restarts: int
) -> None:
    key = f"{case}_{metric}_{variant}_ninit{restarts}"
    features, mask = features_and_mask(golden, case, variant)
    labels = assign_to_centroids(
        features, mask, torch.from_numpy(golden[f"centroids_{key}"]), metric=metric
    ).numpy()
    theirs = np.unpackbits(golden[f"masks_{key}"], axis=-1)[..., : mask.shape[1]].astype(bool)
    # Their list leaves out clusters that no pixel takes.
    ours = np.stack([labels == label for label in np.unique(labels[labels > 0])])
    assert ours.shape == theirs.shape
    assert (ours.any(axis=0) == mask.numpy()).all()
    assert (ours == theirs).all(axis=0)[mask.numpy()].mean() >= 0.999


@pytest.mark.parametrize(("case", "variant"), CASES)
def test_inertia_is_no_worse_than_theirs(golden: dict[str, Any], case: int, variant: str) -> None:
    features, mask = features_and_mask(golden, case, variant)
    points = features[:, mask_at(mask, *features.shape[1:])].T
    theirs = float(golden[f"inertia_{case}_dot_{variant}_ninit10"])
    found = [kmeans(points, 4, restarts=10, seed=seed).inertia for seed in range(5)]
    assert np.median(found) <= 1.001 * theirs


@pytest.mark.parametrize(("case", "variant"), CASES)
def test_their_centroids_have_their_inertia_on_our_points(
    golden: dict[str, Any], case: int, variant: str
) -> None:
    """The points of the clustering are the same: features under the mask resized by nearest neighbour."""
    features, mask = features_and_mask(golden, case, variant)
    points = features[:, mask_at(mask, *features.shape[1:])].T.double()
    key = f"{case}_dot_{variant}_ninit10"
    distances = torch.cdist(points, torch.from_numpy(golden[f"centroids_{key}"]).double()).square()
    assert float(distances.amin(dim=1).sum()) == pytest.approx(float(golden[f"inertia_{key}"]), rel=1e-5)
