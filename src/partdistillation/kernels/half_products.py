"""Cosines of float16 rows with a vector, read where they lie: nothing is converted in memory."""

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled_loosely

_VALUE = np.int32(0x7FFF)
_SIGN = np.int32(-0x8000)
_EXPONENTS_APART = np.float32(2.0**112)
"""What float16's exponents are below float32's, once the bits have been moved."""


@compiled_loosely
def cosines(rows: NDArray[np.int16], vector: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the cosine of each row with a vector of length 1; 0 for a row of zeros.

    `rows` are finite float16 numbers, viewed as int16: (n, dim). Equal rows have equal cosines.
    """
    count, dim = rows.shape
    for row in range(count):
        product, square = np.float32(0), np.float32(0)
        for place in range(dim):
            bits = np.int32(rows[row, place])
            moved = ((bits & _VALUE) << np.int32(13)) | ((bits & _SIGN) << np.int32(16))
            value = np.int32(moved).view(np.float32) * _EXPONENTS_APART
            product += value * vector[place]
            square += value * value
        out[row] = product / np.sqrt(square) if square > 0 else np.float32(0)
