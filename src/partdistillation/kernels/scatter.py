"""Rows of numbers added, by weight, to a few rows of a table each, on a CPU: the gradient of sampling."""

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.kernels.threads import in_threads

_Floats = NDArray[np.float32]


def scatter(
    rows: Float32[np.ndarray, "batch row channel"],
    places: Int64[np.ndarray, "batch row few"],
    weights: Float32[np.ndarray, "batch row few"],
    count: int,
    *,
    threads: int,
) -> Float32[np.ndarray, "batch {count} channel"]:
    """Tables of `count` rows; to those at its `places`, each row is added, times its `weights`."""
    tables = np.zeros((len(rows), count, rows.shape[2]), np.float32)

    def work(begin: int, end: int) -> None:
        for one in range(begin, end):
            _scatter(rows[one], places[one], weights[one], tables[one])

    in_threads(work, len(rows), threads)
    return tables


@compiled
def _scatter(rows: _Floats, places: NDArray[np.int64], weights: _Floats, table: _Floats) -> None:
    for row in range(len(rows)):
        for number in range(places.shape[1]):
            # unsigned, or every access would ask whether it counts from the end
            place, weight = np.uint64(places[row, number]), weights[row, number]
            for channel in range(rows.shape[1]):
                table[place, np.uint64(channel)] += weight * rows[row, channel]
