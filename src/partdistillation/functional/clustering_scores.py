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
    joint = _shares(counts, total[..., None, None])
    rows, columns = _entropy(joint.sum(axis=-1)), _entropy(joint.sum(axis=-2))
    mutual = rows + columns - _entropy(joint.reshape(len(joint), -1))
    mean = (rows + columns) / 2
    return _defined(
        np.where(mean > 0, np.clip(mutual, 0.0, None) / np.where(mean > 0, mean, 1.0), 1.0), total
    )


def adjusted_rand_index(counts: Num[np.ndarray, "table row column"]) -> Float64[np.ndarray, " table"]:
    """Share of pixel pairs on which the partitions agree, 0 where it is what chance gives (Hubert 1985)."""
    counts = counts.astype(np.float64)
    total = counts.sum(axis=(-2, -1))
    both = _pairs(counts).sum(axis=(-2, -1))
    rows, columns = _pairs(counts.sum(axis=-1)).sum(axis=-1), _pairs(counts.sum(axis=-2)).sum(axis=-1)
    pairs = _pairs(total)
    expected = rows * columns / np.where(pairs > 0, pairs, 1.0)
    most = (rows + columns) / 2
    trivial = most == expected  # one part each, or a part a pixel: the same partition
    return _defined(
        np.where(trivial, 1.0, (both - expected) / np.where(trivial, 1.0, most - expected)), total
    )


def _shares(
    counts: Num[np.ndarray, "table row column"], total: Float64[np.ndarray, "table 1 1"]
) -> Float64[np.ndarray, "table row column"]:
    shares: Float64[np.ndarray, "table row column"] = counts / np.where(total > 0, total, 1.0)
    return shares


def _entropy(shares: Float64[np.ndarray, "table part"]) -> Float64[np.ndarray, " table"]:
    entropy: Float64[np.ndarray, " table"] = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(
        axis=-1
    )
    return entropy


def _pairs(counts: Float64[np.ndarray, "table *part"]) -> Float64[np.ndarray, "table *part"]:
    pairs: Float64[np.ndarray, table * part] = counts * (counts - 1) / 2
    return pairs


def _defined(
    values: Float64[np.ndarray, " table"], total: Float64[np.ndarray, " table"]
) -> Float64[np.ndarray, " table"]:
    return np.where(total > 0, values, np.nan)
