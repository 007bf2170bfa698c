"""Matcher and loss against the released code's values (fixture g), gradients included.

There masks are given whole: here their pixels are the features and the embeddings one-hot. A layer's random
points are the fixture's, so each prediction set is compared by itself.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partdistillation.functional import matching
from partdistillation.functional.criterion import Losses, criterion
from partdistillation.functional.losses import LossWeights
from partdistillation.functional.sampling import sample_features, sample_masks

CASES = ["A", "B", "C", "D", "E", "F", "Hfix"]

# The archive's `meta`, its README and the paper give the weights 2/5/5. But the recorded totals and gradients
# are those of 2/5/7: the totals equal 2 ce + 5 mask + 7 dice of the recorded terms. Only this comparison
# weighs dice with 7; the project's default is the paper's 5.
RECORDED_DICE_WEIGHT = 7.0


class Case:
    """One tag of the fixture."""

    def __init__(self, path: Path, tag: str) -> None:
        self.arrays: Any = np.load(path)
        self.tag = tag
        meta = self["meta"]
        self.batch, self.queries, _, self.count, self.aux = (int(v) for v in meta[:5])
        self.weights = LossWeights(*(float(v) for v in meta[7:11]))
        self.targets = []
        for image in range(self.batch):
            labels = torch.from_numpy(self[f"tlabels{image}"])
            masks = torch.from_numpy(self[f"tmasks{image}"])
            self.targets.append(matching.Targets(masks, labels, torch.zeros_like(labels)))

    def __getitem__(self, name: str) -> Any:
        return self.arrays[f"{self.tag}_{name}"]

    def points(self, layer: int) -> matching.Points:
        """The recorded points of a prediction set: the matcher's an image, then the loss's a pair."""
        sets = self.batch + 2
        shared = [self[f"rand{layer * sets + image}"] for image in range(self.batch)]
        order = self.pair_order(layer)
        candidates, uniform = (self[f"rand{layer * sets + self.batch + i}"] for i in range(2))
        importance = self["meta"][5]
        if not importance:  # they were drawn, and thrown away
            candidates = candidates[:, :0]
        total = sum(len(t.labels) for t in self.targets)
        by_target = []
        for values in (candidates, uniform):
            placed = np.zeros((1, total, *values.shape[1:]), np.float32)
            placed[0, order] = values
            by_target.append(torch.from_numpy(placed))
        return matching.Points(
            torch.from_numpy(np.concatenate(shared)), matching.ImportancePoints(by_target[0], by_target[1])
        )

    def pair_order(self, layer: int) -> list[int]:
        """Targets, numbered over the batch, in the order of the recorded pairs."""
        order, start = [], 0
        for image, target in enumerate(self.targets):
            order += [start + int(t) for t in np.atleast_1d(self[f"tgt{layer}_{image}"])]
            start += len(target.labels)
        return order


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, fixtures: Path) -> Case:
    return Case(fixtures / "g_criterion.npz", request.param)


def run(case: Case, layer: int, logits: Tensor, masks: Tensor) -> Losses:
    one_hot = torch.eye(case.queries).expand(1, case.batch, -1, -1)
    groups = list(logits[None, :, None].unbind(1))
    return criterion(one_hot, masks, groups, case.targets, case.points(layer), case.weights)


def test_losses_and_gradients(case: Case) -> None:
    total = 0.0
    for layer in range(case.aux + 1):
        logits = torch.from_numpy(case[f"logits{layer}"]).requires_grad_()
        masks = torch.from_numpy(case[f"masks{layer}"]).requires_grad_()
        losses = run(case, layer, logits, masks)
        recorded = (
            2 * losses.terms["classification"]
            + 5 * losses.terms["mask"]
            + RECORDED_DICE_WEIGHT * losses.terms["dice"]
        )
        torch.autograd.backward(recorded.sum())
        suffix = f"_{layer - 1}" if layer else ""
        for name, value in (
            ("ce", losses.terms["classification"]),
            ("mask", losses.terms["mask"]),
            ("dice", losses.terms["dice"]),
        ):
            np.testing.assert_allclose(value.item(), case[f"loss_{name}{suffix}"], rtol=1e-5, atol=1e-6)
        assert logits.grad is not None
        assert masks.grad is not None
        np.testing.assert_allclose(logits.grad, case[f"glogits{layer}"], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(masks.grad, case[f"gmasks{layer}"], rtol=1e-4, atol=1e-7)
        total += recorded.sum().item()
    np.testing.assert_allclose(total, case["total"], rtol=1e-5, atol=1e-6)


def test_pairs(case: Case) -> None:
    for layer in range(case.aux + 1):
        masks, points = torch.from_numpy(case[f"masks{layer}"]), case.points(layer)
        groups = list(torch.from_numpy(case[f"logits{layer}"])[None, :, None].unbind(1))
        matches = matching.match(
            torch.eye(case.queries).expand(1, case.batch, -1, -1),
            sample_features(masks, points.shared),
            groups,
            case.targets,
            [sample_masks(t.masks, p) for t, p in zip(case.targets, points.shared, strict=True)],
            case.weights,
        )
        for image, pairs in enumerate(matches):
            source = np.atleast_1d(case[f"src{layer}_{image}"])
            target = np.atleast_1d(case[f"tgt{layer}_{image}"])
            order = np.argsort(target)
            assert pairs.queries[0].tolist() == source[order].tolist()
            assert pairs.targets[0].tolist() == target[order].tolist()


def test_single_target_isnt_lost(fixtures: Path) -> None:
    """Tag H: with exactly one target the released code loses it, and all losses of the image are 0."""
    official, fixed = (Case(fixtures / "g_criterion.npz", tag) for tag in ("H", "Hfix"))
    np.testing.assert_array_equal(official["masks0"], fixed["masks0"])
    losses = run(fixed, 0, torch.from_numpy(official["logits0"]), torch.from_numpy(official["masks0"]))
    np.testing.assert_allclose(losses.terms["mask"].item(), fixed["loss_mask"], rtol=1e-5)
    assert not np.isclose(losses.terms["mask"].item(), official["loss_mask"])


def test_total_weighs_the_terms(case: Case) -> None:
    losses = run(case, 0, torch.from_numpy(case["logits0"]), torch.from_numpy(case["masks0"]))
    expected = 2 * case["loss_ce"] + 5 * case["loss_mask"] + 5 * case["loss_dice"]
    np.testing.assert_allclose(losses.total.item(), expected, rtol=1e-5, atol=1e-6)
