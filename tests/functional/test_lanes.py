"""Vectors of four in a compiled kernel, against numpy."""

import numpy as np
from numpy.typing import NDArray

from partdistillation.functional.compiled import compiled
from partdistillation.functional.lanes import load, plus, plus_scaled, store, zeros


@compiled
def _combine(values: NDArray[np.float32], rows: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
    total = zeros()
    for index in range(len(rows)):
        total = plus_scaled(total, np.float32(index + 0.1), load(values, rows[index]))
    store(out, 1, plus(total, load(values, 0)))


def test_rows_are_loaded_weighed_added_and_stored() -> None:
    values = np.random.default_rng(0).random((6, 4), dtype=np.float32)
    rows = np.array([5, 0, 3, 3], np.uint32)
    out = np.full((3, 4), 7, np.float32)
    _combine(values, rows, out)
    expected = np.zeros(4, np.float32)
    for index, row in enumerate(rows):
        expected += np.float32(index + 0.1) * values[row]
    np.testing.assert_array_equal(out, [[7] * 4, expected + values[0], [7] * 4])
