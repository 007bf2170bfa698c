"""The contrastive baseline's losses, by hand and at their limits."""

import math

import pytest
import torch
from torch import Tensor

from partdistillation.functional.part_consistency import (
    contrast_of_parts,
    part_means,
    symmetric_divergence,
    within_part_variance,
)


def one_row(*values: float) -> Tensor:
    """A map of one row and one channel, in one image."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def masks(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, :, None]


# ---------------------------------------------------------------------- means and variance


def test_means_by_hand() -> None:
    values = one_row(1, 3, 5, 100)
    found = part_means(values, masks([1, 1, 0, 0], [0, 0, 0.5, 0], [0, 1, 1, 0], [0, 0, 0, 0]))
    assert found[0, :, 0].tolist() == [2, 5, 4, 0]


def test_soft_masks_weigh_pixels() -> None:
    values = torch.tensor([[0.0, 4.0], [1.0, -1.0]]).reshape(1, 2, 1, 2)
    found = part_means(values, masks([0.25, 0.75]))
    assert found[0, 0].tolist() == [3.0, -0.5]


def test_variance_by_hand() -> None:
    """Part one: 1 and 3, mean 2; part two: 5 alone; the last pixel is of no part."""
    values, hard = one_row(1, 3, 5, 100), masks([1, 1, 0, 0], [0, 0, 1, 0])
    assert within_part_variance(values, hard).item() == pytest.approx(2.0, abs=1e-3)
    soft = masks([0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0])
    assert within_part_variance(values, soft).item() == pytest.approx(2.0, abs=1e-3)


def test_variance_is_its_definition_over_channels_and_images() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    soft = torch.rand(2, 6, 4, 5, generator=generator, dtype=torch.float64)
    total = 0.0
    for image in range(2):
        for mask in soft[image]:
            mean = (values[image] * mask).sum(dim=(1, 2)) / mask.sum()
            total += ((values[image] - mean[:, None, None]).square().sum(dim=0) * mask).sum().item()
    assert within_part_variance(values, soft).item() == pytest.approx(total / 2)


def test_parts_of_one_colour_have_no_variance() -> None:
    values = one_row(0.2, 0.2, 0.9, 0.9)
    assert within_part_variance(values, masks([1, 1, 0, 0], [0, 0, 1, 1])).item() == pytest.approx(
        0, abs=1e-6
    )
    assert within_part_variance(values, masks([1, 0, 1, 0], [0, 1, 0, 1])).item() == pytest.approx(
        0.49, abs=1e-5
    )


# ---------------------------------------------------------------------- contrast


def test_contrast_by_hand() -> None:
    """Two images, two parts, orthogonal: each pair (similarity 1) competes with two others (similarity 0)."""
    descriptors = torch.tensor([[[3.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]])
    for temperature in (1.0, 0.5):
        expected = -math.log(math.exp(1 / temperature) / (math.exp(1 / temperature) + 2))
        assert contrast_of_parts(descriptors, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_contrast_of_swapped_parts_by_hand() -> None:
    """The second image has its parts the other way round: of each one's two rivals, one is like it."""
    descriptors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    expected = -math.log(1 / (1 + math.e + 1))
    assert contrast_of_parts(descriptors, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_contrast_of_parts_that_are_all_the_same() -> None:
    """Nothing tells them apart: with 3 images of 4 parts, 1 against 9."""
    assert contrast_of_parts(torch.ones(3, 4, 5), 0.1).item() == pytest.approx(math.log(10), rel=1e-5)


def test_contrast_of_perfect_parts_vanishes() -> None:
    perfect = torch.stack([torch.eye(3), 5 * torch.eye(3)])
    assert contrast_of_parts(perfect, 0.05).item() == pytest.approx(0, abs=1e-7)


# ---------------------------------------------------------------------- divergence


def test_divergence_by_hand() -> None:
    """p = (1/2, 1/2), q = (3/4, 1/4): KL(p, q) + KL(q, p) = (1/4) log 3."""
    first, second = torch.zeros(1, 2, 1, 1), torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1)
    expected = 0.25 * math.log(3)
    weights = torch.ones(1, 1, 1, 1)
    assert symmetric_divergence(first, second, weights).item() == pytest.approx(expected, rel=1e-5)
    assert symmetric_divergence(second, first, weights).item() == pytest.approx(expected, rel=1e-5)


def test_divergence_is_a_mean_over_weighted_pixels() -> None:
    first = torch.zeros(1, 2, 1, 4)
    second = torch.stack([torch.log(torch.tensor([3.0, 3.0, 1.0, 9.0])), torch.zeros(4)])[None, :, None]
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(1, 1, 1, 4)
    expected = 0.25 * math.log(3) / 2
    assert symmetric_divergence(first, second, weights).item() == pytest.approx(expected, rel=1e-5)
    assert symmetric_divergence(first, second, torch.zeros(1, 1, 1, 4)).item() == 0


def test_no_divergence_of_a_map_from_itself() -> None:
    logits = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * 50
    assert symmetric_divergence(logits, logits + 7, torch.ones(2, 1, 3, 3)).item() == pytest.approx(
        0, abs=1e-5
    )


# ---------------------------------------------------------------------- gradients


def test_every_loss_has_the_gradient_of_its_differences() -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    values, soft = random(2, 3, 2, 2), random(2, 3, 2, 2)
    assert torch.autograd.gradcheck(within_part_variance, (values, soft))
    assert torch.autograd.gradcheck(lambda one: contrast_of_parts(one, 0.3), (random(3, 2, 4),))
    pixels = torch.ones(2, 1, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p, q: symmetric_divergence(p, q, pixels), (values, soft))


def test_a_part_that_has_vanished_has_finite_gradients() -> None:
    """Its probabilities underflow to zero where the others' logits are far ahead."""
    logits = (
        torch.tensor([[200.0, 0.0, -200.0]]).reshape(1, 3, 1, 1).expand(2, 3, 2, 2).clone().requires_grad_()
    )
    values = torch.rand(2, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    soft = logits.softmax(dim=1)
    loss = contrast_of_parts(part_means(values, soft), 0.1) + within_part_variance(values, soft)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()
