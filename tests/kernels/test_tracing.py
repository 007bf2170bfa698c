"""Exporters and `torch.compile` see PyTorch's own operations, which give what the kernels give."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from partdistillation.functional.losses import pair_losses, pairwise_losses
from partdistillation.functional.sampling import sample_features
from partdistillation.kernels import products
from partdistillation.models.deformable_attention import deformable_attention
from partdistillation.models.layers import group_norm
from partdistillation.models.part_mask2former import PartMask2Former

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))

pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.slow]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


NORM = nn.GroupNorm(2, 6)


def normalized(rows: Tensor) -> Tensor:
    return group_norm(rows, NORM, relu=True)


def attended(values: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
    return deformable_attention(values, offsets, logits, ((2, 3), (4, 6)))


def multiplied(rows: Tensor, weight: Tensor) -> Tensor:
    return products.linear(rows, weight, None)


def costs(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return pairwise_losses(logits.clone(), targets)


@pytest.mark.parametrize(
    ("function", "inputs", "operation"),
    [
        (attended, (draw(2, 30, 2, 4), draw(2, 30, 2, 12), draw(2, 30, 2, 6)), "grid_sample"),
        (normalized, (draw(2, 20, 6),), "group_norm"),
        (multiplied, (draw(320, 6), draw(4, 6)), "linear"),
        (sample_features, (draw(2, 3, 8, 8), draw(2, 5, 2).sigmoid()), "embedding_bag"),
        (pair_losses, (draw(3, 64), draw(3, 64).sigmoid()), "binary_cross_entropy"),
        (costs, (draw(64, 3), draw(2, 64)), "binary_cross_entropy"),
    ],
)
def test_a_graph_holds_the_definition(
    function: Callable[..., object],
    inputs: tuple[Tensor, ...],
    operation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "_LEAST_PRODUCTS", 1)
    expected, operations = function(*inputs), list[str]()

    def record(module: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        operations.extend(str(node.target) for node in module.graph.nodes)
        return module.forward

    traced = torch.compile(function, backend=record, fullgraph=True)
    torch.testing.assert_close(traced(*inputs), expected, atol=1e-5, rtol=1e-5)
    assert any(operation in name for name in operations), operations


@pytest.fixture(params=["small_network", "small_swin"])
def network(request: pytest.FixtureRequest) -> PartMask2Former:
    result: PartMask2Former = request.getfixturevalue(request.param)
    return result.eval()


@torch.no_grad()
def test_the_network_compiles_whole(small_network: PartMask2Former) -> None:
    expected = small_network.eval()(IMAGES)
    compiled = torch.compile(small_network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(IMAGES), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_network_exports(network: PartMask2Former) -> None:
    expected = network(IMAGES)
    program = torch.export.export(network, (IMAGES,), strict=False)
    torch.testing.assert_close(program.module()(IMAGES), expected, atol=1e-4, rtol=1e-4)
    operations = {str(node.target) for node in program.graph.nodes}
    assert {"aten.grid_sampler.default", "aten.group_norm.default"} <= operations
