"""Layers on rows of channels against PyTorch's own."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from partdistillation.functional.group_norm import normalize, normalize_backward
from partdistillation.models import layers
from partdistillation.models.layers import group_norm


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def agree(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], inputs: list[Tensor]) -> None:
    """Results, and gradients of a weighted sum of them."""
    results = []
    for function in (ours, theirs):
        out = function()
        weights = torch.linspace(0.5, 1, out.numel()).view(out.shape)
        results.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_linears_of_a_model_are_replaced() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2)), nn.Bilinear(2, 2, 1))
    before, rows = model.state_dict(), random(3, 4)
    expected = model[:2](rows)
    layers.hasten_linears(model)
    assert [type(one) for one in model.modules()].count(layers.Linear) == 2
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(model[:2](rows), expected)


@given(
    st.integers(1, 3), st.integers(1, 9), st.sampled_from([(1, 1), (2, 2), (6, 2), (12, 3)]), st.booleans()
)
@settings(max_examples=30, deadline=None)
def test_group_norm(batch: int, pixels: int, layout: tuple[int, int], relu: bool) -> None:
    channels, groups = layout
    if pixels * channels == groups:  # PyTorch refuses to normalise single values
        return
    rows, norm = random(batch, pixels, channels), nn.GroupNorm(groups, channels)
    for seed, parameter in enumerate(norm.parameters()):
        parameter.data = random(channels, seed=seed).detach()

    def expected() -> Tensor:
        out: Tensor = norm(rows.transpose(1, 2)).transpose(1, 2)
        return out.relu() if relu else out

    agree(lambda: group_norm(rows, norm, relu=relu), expected, [rows, *norm.parameters()])


def test_group_norm_far_from_zero() -> None:
    """The variance isn't a difference of large numbers."""
    rows, norm = random(1, 50, 4).detach() + 1_000, nn.GroupNorm(2, 4)
    expected = norm.double()(rows.double().transpose(1, 2)).transpose(1, 2)
    found = group_norm(rows, norm.float())
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-3)


def test_group_norm_in_other_precisions() -> None:
    rows, norm = random(2, 50, 4), nn.GroupNorm(2, 4)
    expected = group_norm(rows, norm, relu=True)
    found = group_norm(rows.double(), norm.double(), relu=True)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-5)


def test_group_norm_leaves_nan() -> None:
    rows = random(1, 5, 4).detach()
    rows[0, 0, 0] = float("nan")
    found = group_norm(rows, nn.GroupNorm(2, 4), relu=True)
    assert torch.isnan(found[..., :2]).all()
    assert torch.isfinite(found[..., 2:]).all()


def test_threads_change_nothing() -> None:
    maps, weight, bias = (random(*shape).detach().numpy() for shape in ((5, 20, 6), (6,), (6,)))
    results = []
    for threads in (1, 2, 5, 100):
        out, moments = normalize(maps, weight, bias, groups=3, epsilon=1e-5, relu=True, threads=threads)
        found = normalize_backward(maps, weight, bias, moments, out, groups=3, relu=True, threads=threads)
        results.append([one.tobytes() for one in (out, moments, *found)])
    assert results == results[:1] * 4
