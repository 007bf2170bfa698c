"""Krippendorff's alpha for nominal values: how far several judges agree beyond chance.

K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: any number of judges, each of
whom may have left out units. alpha = 1 - D_observed / D_expected: 1 is agreement throughout, 0 what chance
would bring, below 0 disagreement beyond chance.

It is worked out in two steps, of which the first one adds up: so alpha of many sets of units (a bootstrap's
replicates) costs one pass over the units.
"""

import numpy as np
from jaxtyping import Float64, Integer


def nominal_alpha(counts: Integer[np.ndarray, "unit value"]) -> float:
    """Alpha of units for each of which the judges have chosen among values.

    Args:
        counts: how many judges gave a unit a value. A unit with fewer than two judges tells nothing.

    Returns:
        NaN where nothing could differ: no unit with two judges, or one value all over.
    """
    return float(alpha_of(nominal_tally(counts)[None])[0])


def nominal_tally(counts: Integer[np.ndarray, "unit value"]) -> Float64[np.ndarray, " tally"]:
    """What alpha needs to know of units; the tallies of disjoint sets of units add up.

    Returns:
        The observed disagreement: the pairs of judges that differ, each unit's divided by its judges less
        one. Then how often each value was given, in units with two judges or more.
    """
    judges = counts.sum(axis=1)
    paired, judges = counts[judges > 1].astype(np.float64), judges[judges > 1]
    differing = (judges**2 - (paired**2).sum(axis=1)) / (judges - 1)
    return np.concatenate([[differing.sum()], paired.sum(axis=0)])


def alpha_of(tallies: Float64[np.ndarray, "set tally"]) -> Float64[np.ndarray, " set"]:
    """Alpha from `nominal_tally`; NaN as `nominal_alpha`."""
    observed, ratings = tallies[:, 0], tallies[:, 1:]
    total = ratings.sum(axis=1)
    expected = total**2 - (ratings**2).sum(axis=1)
    alpha: Float64[np.ndarray, " set"] = 1 - (total - 1) * observed / np.where(expected > 0, expected, np.nan)
    return alpha
