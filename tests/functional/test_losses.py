"""Terms of the loss by hand and by transformers, and the fused ones by their definition."""

import numpy as np
import pytest
import torch
from transformers.models.mask2former import modeling_mask2former as judge

from partdistillation.functional.losses import (
    FUSED,
    MASK_TERMS,
    LossWeights,
    cross_entropy,
    dice,
    pair_losses,
    pairwise_losses,
)


def test_every_term_has_a_weight_and_a_definition() -> None:
    assert all(LossWeights().of(name) > 0 for name in MASK_TERMS)
    assert set(FUSED) <= MASK_TERMS.keys()


def test_costs_by_hand() -> None:
    logits = torch.tensor([[0.0], [0.0], [0.0], [0.0]])  # probability 1/2 everywhere
    targets = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    costs = pairwise_losses(logits, targets)
    np.testing.assert_allclose(costs["mask"][:, 0], [np.log(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(costs["dice"][:, 0], [1 - 3 / 5, 1 - 1 / 3], rtol=1e-6)


def test_definitions_agree_with_transformers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 40, generator=generator)
    targets = torch.rand(4, 40, generator=generator)
    for term, theirs in ((cross_entropy, judge.sigmoid_cross_entropy_loss), (dice, judge.dice_loss)):
        np.testing.assert_allclose(term(logits, targets).sum(), theirs(logits, targets, 1), rtol=1e-5)
    for term, pairwise in (
        (cross_entropy, judge.pair_wise_sigmoid_cross_entropy_loss),
        (dice, judge.pair_wise_dice_loss),
    ):
        expected = pairwise(logits, targets)
        np.testing.assert_allclose(term(logits[:, None], targets), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("points", [1, 64, 150])
def test_fused_costs_are_those_by_definition(points: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(6, points, generator=generator)
    targets = torch.rand(4, points, generator=generator)
    costs = pairwise_losses(logits.T.clone(), targets)
    for name, term in MASK_TERMS.items():
        torch.testing.assert_close(costs[name], term(logits, targets[:, None]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("points", [1, 64, 150])
def test_fused_losses_and_gradients_are_those_by_definition(points: int) -> None:
    """For sure and unsure logits, and for any number of points."""
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(2, 3, points, generator=generator)).requires_grad_()
    targets = torch.rand(2, 3, points, generator=generator)
    results = []
    for terms in (
        pair_losses(logits, targets),
        {name: term(logits, targets) for name, term in MASK_TERMS.items()},
    ):
        per_layer = 5 * terms["mask"].sum(-1) + 7 * terms["dice"].sum(-1)
        gradients = torch.autograd.grad((per_layer * torch.tensor([2.0, 3.0])).sum(), logits)
        results.append([terms, gradients])
    torch.testing.assert_close(*results)


def test_losses_of_sure_logits() -> None:
    logits, targets = torch.tensor([[[-1e4, 1e4, 90.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]])
    for value in (pair_losses(logits, targets)["mask"], cross_entropy(logits, targets)):
        np.testing.assert_allclose(value[0], [1e4 / 3], rtol=1e-6)
