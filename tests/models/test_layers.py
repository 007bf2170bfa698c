"""Layers on rows of channels against PyTorch's own."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig
from transformers.models.resnet.modeling_resnet import ResNetConvLayer

from partdistillation.models import layers
from partdistillation.models.layers import group_norm

# fixtures of conftest.py
Draw = Callable[..., Tensor]
Agree = Callable[..., None]


def test_linears_of_a_model_are_replaced(random: Draw) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2)), nn.Bilinear(2, 2, 1))
    before, rows = model.state_dict(), random(3, 4)
    expected = model[:2](rows)
    layers.hasten_linears(model)
    assert [type(one) for one in model.modules()].count(layers.Linear) == 2
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(model[:2](rows), expected)


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
@pytest.mark.parametrize("training", [False, True])
def test_resnet(random: Draw, layer_type: str, training: bool) -> None:
    """Maps, gradients and running statistics, in `eval()` and in `train()` mode."""
    config = ResNetConfig(  # type: ignore[call-arg]
        layer_type=layer_type,
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[2, 1],
        out_features=["stage1", "stage2"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = ResNetBackbone(config)
        for norm in (one for one in plain.modules() if isinstance(one, nn.BatchNorm2d)):
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert values is not None
                values.data.uniform_(0.5, 1.5)
    plain.train(training)
    hastened = copy.deepcopy(plain)
    layers.hasten_resnet(hastened)
    assert layers.ConvolutionLayer in {type(one) for one in hastened.modules()}
    maps = random(2, 3, 32, 48)
    results = []
    for backbone in (plain, hastened):
        found = backbone(maps).feature_maps
        gradients = torch.autograd.grad(
            sum(one.square().sum() for one in found), [maps, *backbone.parameters()]
        )
        results.append([*found, *gradients, *backbone.state_dict().values()])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.detach().abs().max()), rtol=1e-4)


def test_other_backbones_stay_as_they_are() -> None:
    model = nn.Sequential(ResNetConvLayer(2, 2), nn.ReLU())
    layers.hasten_resnet(model)
    assert [type(one) for one in model] == [ResNetConvLayer, nn.ReLU]
    assert not model[1].inplace


@given(
    st.integers(1, 3), st.integers(1, 9), st.sampled_from([(1, 1), (2, 2), (6, 2), (12, 3)]), st.booleans()
)
@settings(max_examples=30, deadline=None)
def test_group_norm(
    agree: Agree, random: Draw, batch: int, pixels: int, layout: tuple[int, int], relu: bool
) -> None:
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


def test_group_norm_far_from_zero(random: Draw) -> None:
    """The variance isn't a difference of large numbers."""
    rows, norm = random(1, 50, 4).detach() + 1_000, nn.GroupNorm(2, 4)
    expected = norm.double()(rows.double().transpose(1, 2)).transpose(1, 2)
    found = group_norm(rows, norm.float())
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-3)


def test_group_norm_in_other_precisions(random: Draw) -> None:
    rows, norm = random(2, 50, 4), nn.GroupNorm(2, 4)
    expected = group_norm(rows, norm, relu=True)
    found = group_norm(rows.double(), norm.double(), relu=True)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-5)


def test_group_norm_leaves_nan(random: Draw) -> None:
    rows = random(1, 5, 4).detach()
    rows[0, 0, 0] = float("nan")
    found = group_norm(rows, nn.GroupNorm(2, 4), relu=True)
    assert torch.isnan(found[..., :2]).all()
    assert torch.isfinite(found[..., 2:]).all()


def test_threads_change_nothing(random: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, norm = random(5, 20, 6), nn.GroupNorm(3, 6)
    results = []
    for threads in (1, 2, 5, 100):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        out = group_norm(rows, norm, relu=True)
        gradients = torch.autograd.grad(out, (rows, norm.weight, norm.bias), out.detach())
        results.append([tensor.detach().numpy().tobytes() for tensor in (out, *gradients)])
    assert results == results[:1] * 4
