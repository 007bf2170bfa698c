"""Products against PyTorch's own."""

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from partdistillation.kernels import products
from partdistillation.kernels.products import linear

# fixtures of conftest.py
Draw = Callable[..., Tensor]
Agree = Callable[..., None]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are worth a convolution too."""
    monkeypatch.setattr(products, "_LEAST_PRODUCTS", 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("shape", [(2, 160), (16, 16), (2, 7), (3, 5, 64), (320,), (0, 5), (2, 67)])
def test_linear(agree: Agree, random: Draw, shape: tuple[int, ...]) -> None:
    """For few rows, for many, and for many that don't divide."""
    rows, weight, bias = random(*shape, 6), random(4, 6, seed=1), random(4, seed=2)
    plain = nn.functional.linear
    agree(lambda: linear(rows, weight, bias), lambda: plain(rows, weight, bias), [rows, weight, bias])
    agree(lambda: linear(rows, weight, None), lambda: plain(rows, weight, None), [rows, weight])


def test_linear_for_many_rows_is_a_convolution(
    agree: Agree, random: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, weight, bias = random(320, 256), random(128, 256, seed=1), random(128, seed=2)
    agree(
        lambda: linear(rows, weight, bias),
        lambda: nn.functional.linear(rows, weight, bias),
        [rows, weight, bias],
    )
    monkeypatch.setattr(nn.functional, "linear", None)  # isn't called
    assert linear(rows, weight, bias).shape == (320, 128)


@pytest.mark.usefixtures("always")
def test_linear_is_a_convolution_of_single_pixels(agree: Agree, random: Draw) -> None:
    maps, convolve = random(2, 6, 16, 16), nn.Conv2d(6, 4, 1)
    rows = maps.flatten(2).transpose(1, 2)
    agree(
        lambda: linear(rows, convolve.weight, convolve.bias),
        lambda: convolve(maps).flatten(2).transpose(1, 2),
        [maps, *convolve.parameters()],
    )
