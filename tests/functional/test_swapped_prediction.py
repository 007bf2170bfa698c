"""Losses of the encoder warm-up, against plain loops and values by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partdistillation.functional.swapped_prediction import (
    SINKHORN_STEPS,
    SINKHORN_TEMPERATURE,
    TEMPERATURE,
    clustering_loss,
    pooled,
    sinkhorn,
)

Array = np.ndarray[Any, Any]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def centres(size: int, objects: int) -> Tensor:
    """The centres of all pixels of a square map, for both views of each object."""
    at = (torch.arange(size) + 0.5) / size * 2 - 1
    x, y = torch.meshgrid(at, at, indexing="xy")
    return torch.stack([x.flatten(), y.flatten()], dim=1).expand(objects, 2, -1, -1)


# ---------------------------------------------------------------------- pooling


def test_pooled_is_the_mean_inside_the_object() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 0.0], [0.0, 0.0]]]])
    inside = torch.tensor([[[[1.0, 0.5], [0.0, 0.5]]]])
    torch.testing.assert_close(pooled(features, inside), torch.tensor([[4 / 2, 10 / 2]]))


def test_pooled_is_zero_without_an_object() -> None:
    assert (pooled(random(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)) == 0).all()


# ---------------------------------------------------------------------- sinkhorn


def plain_sinkhorn(scores: Array) -> Array:
    codes = np.exp(scores.astype(np.float64) / SINKHORN_TEMPERATURE)
    for _ in range(SINKHORN_STEPS):
        for column in range(codes.shape[1]):
            codes[:, column] /= codes[:, column].sum()
        for row in range(codes.shape[0]):
            codes[row] /= codes[row].sum()
    return codes


def test_sinkhorn_is_that_of_a_plain_loop() -> None:
    scores = (0.2 * random(40, 5)).clamp(-1, 1)
    np.testing.assert_allclose(sinkhorn(scores).numpy(), plain_sinkhorn(scores.numpy()), rtol=1e-4)


def test_sinkhorn_uses_all_prototypes() -> None:
    scores = 0.1 * random(400, 8)
    scores[:, 3] += 0.3  # without it, the favourite of nearly all
    greedy = (scores / SINKHORN_TEMPERATURE).softmax(dim=1).sum(dim=0)
    codes = sinkhorn(scores)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(400))
    assert greedy[3] > 300
    torch.testing.assert_close(codes.sum(dim=0), torch.full((8,), 50.0), rtol=0.1, atol=0)


def test_sinkhorn_of_no_points() -> None:
    assert sinkhorn(torch.zeros(0, 4)).shape == (0, 4)


# ---------------------------------------------------------------------- the loss


def plain_loss(
    features: Array, inside: Array, prototypes: Array, pixels: list[tuple[int, int, int]], window: int
) -> float:
    """Of (object, row, column), the same in both views, with loops."""

    def score(view: int, row: int, column: int) -> Array:
        vector = features[view, :, row, column].astype(np.float64)
        along = prototypes.astype(np.float64) / np.linalg.norm(prototypes, axis=1, keepdims=True)
        return np.asarray(along @ (vector / np.linalg.norm(vector)))

    def target(view: int, row: int, column: int) -> Array:
        reach, total, weight = window // 2, np.zeros(len(prototypes)), 0.0
        for y in range(max(row - reach, 0), min(row + reach + 1, features.shape[2])):
            for x in range(max(column - reach, 0), min(column + reach + 1, features.shape[3])):
                total = total + inside[view, 0, y, x] * score(view, y, x)
                weight += inside[view, 0, y, x]
        return total / weight

    losses = []
    for view in range(2):
        codes = plain_sinkhorn(np.stack([target(2 * o + view, y, x) for o, y, x in pixels]))
        for code, (o, y, x) in zip(codes, pixels, strict=True):
            logits = score(2 * o + 1 - view, y, x) / TEMPERATURE
            losses.append(-(code * (logits - np.log(np.exp(logits).sum()))).sum())
    return float(np.mean(losses))


@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_loss_is_that_of_plain_loops(window: int) -> None:
    features, prototypes = random(6, 8, 4, 4), random(5, 8, seed=1)
    inside = torch.from_numpy(np.random.default_rng(2).uniform(0.2, 1, (6, 1, 4, 4)).astype(np.float32))
    inside[:, :, 0] = 0
    visible = (inside[0::2, 0] > 0).flatten(1)
    pixels = [(int(o), int(p) // 4, int(p) % 4) for o, p in visible.nonzero()]
    expected = plain_loss(features.numpy(), inside.numpy(), prototypes.numpy(), pixels, window)
    found = clustering_loss(features, inside, prototypes, centres(4, 3), visible, window=window)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_what_is_outside_the_object_does_not_matter() -> None:
    features, prototypes, inside = random(4, 8, 6, 6), random(5, 8, seed=1), torch.zeros(4, 1, 6, 6)
    inside[:, :, 1:4, 2:5] = 1
    visible = (inside[0::2, 0] > 0).flatten(1)
    other = torch.where(inside > 0, features, 3 * random(4, 8, 6, 6, seed=2))
    losses = [
        clustering_loss(one, inside, prototypes, centres(6, 2), visible, window=5)
        for one in (features, other)
    ]
    torch.testing.assert_close(losses[0], losses[1])


def test_views_that_agree_on_separate_prototypes_have_nearly_no_loss() -> None:
    prototypes = torch.eye(4)
    owner = torch.arange(16).view(4, 4) % 4  # every prototype has 4 pixels
    features = prototypes[owner].permute(2, 0, 1).expand(2, -1, -1, -1)
    visible = torch.ones(1, 16, dtype=torch.bool)
    loss = clustering_loss(features, torch.ones(2, 1, 4, 4), prototypes, centres(4, 1), visible, window=1)
    least = math.log(1 + 3 * math.exp(-1 / TEMPERATURE))
    assert float(loss) == pytest.approx(least, rel=1e-3)
    turned = torch.stack([features[0], features[0].roll(1, dims=2)])  # every pixel on another prototype
    worst = clustering_loss(turned, torch.ones(2, 1, 4, 4), prototypes, centres(4, 1), visible, window=1)
    assert float(worst) == pytest.approx(least + 1 / TEMPERATURE, rel=1e-3)


def test_features_that_tell_nothing_cost_the_logarithm_of_the_prototypes() -> None:
    features = torch.zeros(2, 8, 4, 4)
    features[:, 7] = 1  # at right angles to all prototypes
    prototypes = torch.cat([random(6, 7), torch.zeros(6, 1)], dim=1)
    visible = torch.ones(1, 16, dtype=torch.bool)
    loss = clustering_loss(features, torch.ones(2, 1, 4, 4), prototypes, centres(4, 1), visible, window=3)
    assert float(loss) == pytest.approx(math.log(6), rel=1e-5)


def test_without_a_visible_point_there_is_no_loss_and_no_gradient() -> None:
    features = random(2, 8, 4, 4).requires_grad_()
    visible = torch.zeros(1, 16, dtype=torch.bool)
    loss = clustering_loss(features, torch.ones(2, 1, 4, 4), random(5, 8), centres(4, 1), visible, window=1)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.detach() == 0
    assert (gradient == 0).all()


def test_only_predictions_have_a_gradient() -> None:
    prototypes = torch.eye(2)
    features = random(2, 2, 2, 2).requires_grad_()
    visible = torch.ones(1, 4, dtype=torch.bool)
    loss = clustering_loss(features, torch.ones(2, 1, 2, 2), prototypes, centres(2, 1), visible, window=1)
    (gradient,) = torch.autograd.grad(loss, features)
    codes = torch.stack(
        [sinkhorn(torch.nn.functional.normalize(one.flatten(1).T.detach(), dim=1)) for one in features]
    )
    predicted = torch.nn.functional.normalize(features, dim=1).flatten(2).transpose(1, 2) / TEMPERATURE
    expected = -(codes.flip(0) * predicted.log_softmax(dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, features)[0])
