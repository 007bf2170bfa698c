"""Vectors in a compiled kernel, against numpy."""

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.kernels.lanes import operations

four, eight = operations(4), operations(8, fused=True)
zeros, load, store, plus, plus_scaled = four[:5]
load_eight, store_eight, plus_product, total = eight.load, eight.store, eight.plus_product, eight.total


@compiled
def _combine(values: NDArray[np.float32], rows: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
    found = zeros()
    for index in range(len(rows)):
        found = plus_scaled(found, np.float32(index + 0.1), load(values, rows[index]))
    store(out, 1, plus(found, load(values, 0)))


def test_rows_are_loaded_weighed_added_and_stored() -> None:
    values = np.random.default_rng(0).random((6, 4), dtype=np.float32)
    rows = np.array([5, 0, 3, 3], np.uint32)
    out = np.full((3, 4), 7, np.float32)
    _combine(values, rows, out)
    expected = np.zeros(4, np.float32)
    for index, row in enumerate(rows):
        expected += np.float32(index + 0.1) * values[row]
    np.testing.assert_array_equal(out, [[7] * 4, expected + values[0], [7] * 4])


@compiled
def _multiply(values: NDArray[np.float32], out: NDArray[np.float32]) -> np.float32:
    found = plus_product(load_eight(values, 0), load_eight(values, 1), load_eight(values, 2))
    store_eight(out, 0, found)
    return total(found)


def test_rows_are_multiplied_and_summed() -> None:
    values = np.arange(24, dtype=np.float32).reshape(3, 8)
    out = np.zeros((1, 8), np.float32)
    expected = values[0] + values[1] * values[2]
    assert _multiply(values, out) == expected.sum()
    np.testing.assert_array_equal(out[0], expected)
