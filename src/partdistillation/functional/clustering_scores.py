"""How far two partitions of the same pixels agree, from their contingency tables: NMI and ARI.

Many tables at once, as bootstrap replicates are; each has a row a predicted part and a column a true part, in
pixels. 1: the same up to names; ARI 0: as good as chance; NaN: no pixels.
"""

import numpy as np
from jaxtyping import Float64, Num


def normalized_mutual_information(
    counts: Num[np.ndarray, "table row column"],
) -> Float64[np.ndarray, " table"]:
    """Mutual information over the mean of the two entropies, as scikit-learn's default.

    Where neither partition says anything (one part each), 1.
    """
    total = counts.sum(axis=(-2, -1), dtype=np.float64)
    joint = counts / np.where(total > 0, total, np.nan)[:, None, None]
    rows, columns = _entropy(joint.sum(axis=-1)), _entropy(joint.sum(axis=-2))
    mutual = rows + columns - _entropy(joint.reshape(len(joint), -1))
    mean = (rows + columns) / 2
    trivial = mean <= 0
    return np.where(trivial, 1.0, np.clip(mutual, 0.0, None) / np.where(trivial, 1.0, mean))


def adjusted_rand_index(counts: Num[np.ndarray, "table row column"]) -> Float64[np.ndarray, " table"]:
    """Share of pixel pairs on which the partitions agree, 0 where it is what chance gives (Hubert 1985)."""
    counts = counts.astype(np.float64)
    pairs = _pairs(counts.sum(axis=(-2, -1)))
    both = _pairs(counts).sum(axis=(-2, -1))
    rows, columns = _pairs(counts.sum(axis=-1)).sum(axis=-1), _pairs(counts.sum(axis=-2)).sum(axis=-1)
    expected = rows * columns / np.where(pairs > 0, pairs, 1.0)
    most = (rows + columns) / 2
    trivial = most == expected  # one part each, or a part a pixel: the same partition
    index = np.where(trivial, 1.0, (both - expected) / np.where(trivial, 1.0, most - expected))
    return np.where(counts.any(axis=(-2, -1)), index, np.nan)


def _entropy(shares: Float64[np.ndarray, "table part"]) -> Float64[np.ndarray, " table"]:
    logarithms = np.log(np.where(shares > 0, shares, 1.0))
    return np.asarray(-(shares * logarithms).sum(axis=-1))


def _pairs(counts: Float64[np.ndarray, "table *part"]) -> Float64[np.ndarray, "table *part"]:
    return np.asarray(counts * (counts - 1) / 2)
