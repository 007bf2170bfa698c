"""Deformable attention on a CPU against PyTorch's `grid_sample`, transformers' module and values by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.mask2former import modeling_mask2former as judge

from partdistillation.models.deformable_attention import (
    Sizes,
    by_grid_sample,
    deformable_attention,
    pixel_centres,
)

LEVELS: Sizes = ((2, 3), (4, 6), (7, 11))


Inputs = tuple[Tensor, Tensor, Tensor]


def random_inputs(
    sizes: Sizes, *, batch: int = 2, heads: int = 2, channels: int = 4, points: int = 4, spread: float = 3.0
) -> Inputs:
    """Values, offsets and logits. With a `spread` of a map's size many of the points lie outside.

    No point lies next to a pixel's centre, where the slope jumps and rounding would choose the side.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(last: int) -> Tensor:
        return torch.randn(batch, sum(h * w for h, w in sizes), heads, last, generator=generator)

    count = points * len(sizes)
    values, moves, logits = draw(channels), draw(2 * count), draw(count)
    extent = torch.tensor([(w, h) for h, w in sizes]).repeat_interleave(points, dim=0)
    own = (pixel_centres(sizes)[:, None] * extent - 0.5).flatten(1)[:, None]
    places = own + spread * moves
    places = places.floor() + 0.05 + 0.9 * (places - places.floor())
    return values.requires_grad_(), (places - own).requires_grad_(), logits.requires_grad_()


def with_gradients(function: Callable[..., Tensor], inputs: Inputs, sizes: Sizes) -> list[Tensor]:
    """The result, and the gradients of a weighted sum of it."""
    seen = function(*inputs, sizes)
    weights = torch.linspace(-1, 1, seen.numel()).view(seen.shape)
    return [seen, *torch.autograd.grad((seen * weights).sum(), inputs)]


def in_double(inputs: Inputs) -> Inputs:
    values, offsets, logits = (one.detach().double().requires_grad_() for one in inputs)
    return values, offsets, logits


def agree(inputs: Inputs, sizes: Sizes) -> None:
    found, expected = (with_gradients(one, inputs, sizes) for one in (deformable_attention, by_grid_sample))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_one_point_by_hand() -> None:
    """A map of 1 x 3 pixels; the middle one looks half a pixel, and one and a half, to the right."""
    values = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1).requires_grad_()
    offsets = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.75, 0.0]]).view(1, 3, 1, 2).requires_grad_()
    logits = torch.zeros(1, 3, 1, 1)
    seen = deformable_attention(values, offsets, logits, ((1, 3),))
    np.testing.assert_allclose(seen.detach().flatten(), [1.0, 3.0, 1.0])  # the last is 3/4 outside
    torch.autograd.backward(seen[0, 1].sum())
    assert values.grad is not None
    assert offsets.grad is not None
    np.testing.assert_allclose(values.grad.flatten(), [0, 0.5, 0.5])
    np.testing.assert_allclose(offsets.grad[0, 1, 0], [2.0, -3.0])  # below the map there is zero


@pytest.mark.parametrize("channels", [1, 4, 8, 12])
@pytest.mark.parametrize("spread", [0.3, 3.0, 100.0])
def test_agrees_with_grid_sample(channels: int, spread: float) -> None:
    agree(random_inputs(LEVELS, channels=channels, spread=spread), LEVELS)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([0.5, 2.0, 20.0]),
)
@settings(max_examples=30, deadline=None)
def test_any_levels_and_points(levels: list[tuple[int, int]], heads: int, points: int, spread: float) -> None:
    inputs = random_inputs(tuple(levels), batch=1, heads=heads, points=points, spread=spread)
    agree(inputs, tuple(levels))


def test_the_gradient_is_that_of_the_function() -> None:
    """That of `by_grid_sample` is, by finite differences; and ours is the same."""
    sizes: Sizes = ((2, 2), (3, 3))
    values, offsets, logits = random_inputs(sizes, batch=1, heads=1, points=2)
    doubles = in_double((values, offsets, logits))
    assert torch.autograd.gradcheck(lambda *one: by_grid_sample(one[0], one[1], one[2], sizes), doubles)
    agree((values, offsets, logits), sizes)


def test_agrees_with_transformers_module() -> None:
    """Whose reference points are computed elsewhere, by the encoder around it."""
    torch.manual_seed(0)
    module = judge.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(32, 4, 3, 4)
    hidden = torch.randn(2, sum(h * w for h, w in LEVELS), 32)
    encoder: Any = judge.Mask2FormerPixelDecoderEncoderOnly
    places = encoder.get_reference_points(list(LEVELS), torch.ones(2, 3, 2), hidden.device)
    expected, _ = module(
        hidden, encoder_hidden_states=hidden, reference_points=places, spatial_shapes_list=list(LEVELS)
    )
    projections = (module.value_proj, module.sampling_offsets, module.attention_weights)
    values, offsets, logits = (project(hidden).unflatten(2, (4, -1)) for project in projections)
    found = module.output_proj(deformable_attention(values, offsets, logits, LEVELS).flatten(2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, offsets, logits = random_inputs(LEVELS, batch=3)
    results = []
    for threads in (1, 2, 5, 100):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        seen = deformable_attention(values, offsets, logits, LEVELS)
        gradients = torch.autograd.grad(seen, (values, offsets, logits), seen.detach())
        results.append([tensor.detach().numpy().tobytes() for tensor in (seen, *gradients)])
    assert results == results[:1] * 4


def test_what_isnt_finite_stays_so() -> None:
    """Diverged training is noticed by its losses; meanwhile nothing outside the maps is read."""
    values, offsets, logits = (one.detach() for one in random_inputs(LEVELS))
    for bad in (float("nan"), float("inf"), -float("inf")):
        offsets[0, 0, 0, 0] = bad
        assert torch.isfinite(deformable_attention(values, offsets, logits, LEVELS)).all()
    logits[0, 0, 0, 0] = float("nan")
    assert torch.isnan(deformable_attention(values, offsets, logits, LEVELS)[0, 0, 0]).all()


def test_other_precisions_use_grid_sample() -> None:
    inputs = random_inputs(LEVELS)
    found = deformable_attention(*in_double(inputs), LEVELS)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), deformable_attention(*inputs, LEVELS), atol=1e-5, rtol=1e-5)


def test_without_gradients_nothing_is_kept() -> None:
    with torch.no_grad():
        assert deformable_attention(*random_inputs(LEVELS), LEVELS).grad_fn is None
