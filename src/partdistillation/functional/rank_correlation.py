"""Spearman's rank correlation, with an interval for values that come in groups."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy.stats import rankdata


class Correlation(NamedTuple):
    """Spearman's; NaN where a side has one value only, or there are fewer than three."""

    value: float
    low: float
    """The middle 95 % of a bootstrap over groups; NaN for a single group."""
    high: float
    compared: int
    """How many values there were on both sides."""


def spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    groups: Sequence[str],
    *,
    replicates: int,
    seed: int,
) -> Correlation:
    """Correlate values, those left out that are NaN on either side.

    A replicate of the bootstrap draws as many groups as there are, with replacement, each with all its
    values: values of a group, as the parts of an object class, are no independent evidence.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    names, places = np.unique(np.array(groups, dtype=np.str_)[known], return_inverse=True)
    value = _spearman(x, y)
    if len(names) < 2 or np.isnan(value):
        return Correlation(value, float("nan"), float("nan"), len(x))
    members = [np.flatnonzero(places == group) for group in range(len(names))]
    drawn = np.random.default_rng(seed).integers(0, len(names), (replicates, len(names)))
    replicas = (np.concatenate([members[group] for group in chosen]) for chosen in drawn)
    correlations = [_spearman(x[rows], y[rows]) for rows in replicas]
    low, high = np.nanquantile(correlations, (0.025, 0.975))
    return Correlation(value, float(low), float(high), len(x))


def _spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    if len(x) < 3 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    ranks: Float64[np.ndarray, "2 n"] = rankdata(np.stack([x, y]), axis=1)
    return float(np.corrcoef(ranks)[0, 1])
