"""How much an evaluation's numbers would move with other images: a Poisson bootstrap.

A replicate sees every image as often as a draw from Poisson(1) says, which is what drawing n of n images
with replacement comes to. Each image brings its draws with it, so that counts are added up in one pass, in
constant memory, and in any order.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

REPLICATES = 1_000
WEIGHTS = 1 + REPLICATES
"""Of these numbers an image carries, the first is 1: the images as they are."""
LEVEL = 0.95


class Interval(NamedTuple):
    """The middle `LEVEL` of the replicates; NaN where there is nothing to measure."""

    low: float
    high: float


UNKNOWN = Interval(float("nan"), float("nan"))


def image_weights(image_id: str) -> Int64[np.ndarray, f"{WEIGHTS}"]:
    """How often the image counts: once, then in each replicate; by its id alone."""
    seed = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:16])
    drawn = np.random.Generator(np.random.Philox(seed)).poisson(1.0, REPLICATES)
    return np.concatenate([[1], drawn])


def interval(values: Float64[np.ndarray, f"{WEIGHTS}"]) -> Interval:
    """Of a score as it is and in every replicate; replicates in which nothing was measured don't count."""
    replicates = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(replicates):
        return UNKNOWN
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(replicates, (edge, 1 - edge))
    return Interval(float(low), float(high))
