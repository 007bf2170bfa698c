"""Cosines of float16 rows, against numpy in float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from partdistillation.kernels.half_products import cosines


def of(rows: NDArray[np.float16], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.full(len(rows), np.nan, np.float32)
    cosines(rows.view(np.int16), vector, out)
    return out


@pytest.mark.parametrize("dim", [1, 7, 64, 257])
@pytest.mark.parametrize("scale", [1e-6, 0.1, 1e3])
def test_cosines(dim: int, scale: float) -> None:
    """Of numbers too small for float16's exponent too."""
    random = np.random.default_rng(0)
    rows = (scale * random.normal(size=(50, dim))).astype(np.float16)
    rows[3] = 0
    vector = random.normal(size=dim).astype(np.float32)
    vector /= np.linalg.norm(vector)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    expected = np.divide(rows.astype(np.float64) @ vector, lengths, out=np.zeros(50), where=lengths > 0)
    np.testing.assert_allclose(of(rows, vector), expected, atol=1e-6)
    assert of(rows, vector)[3] == 0


def test_every_finite_number_is_read_as_it_is() -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    beside = np.stack([numbers, np.ones_like(numbers)], axis=1)
    expected = numbers.astype(np.float64) / np.hypot(numbers.astype(np.float64), 1)
    np.testing.assert_allclose(of(beside, np.array([1, 0], np.float32)), expected, rtol=1e-6)


def test_equal_rows_have_equal_cosines() -> None:
    random = np.random.default_rng(0)
    row, vector = random.normal(size=(2, 131)) / 20
    (cosine,) = set(of(np.tile(row.astype(np.float16), (1001, 1)), vector.astype(np.float32)).tolist())
    assert -1 < cosine < 1
