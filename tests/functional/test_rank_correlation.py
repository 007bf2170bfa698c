"""Spearman's correlation against SciPy's, and its bootstrap over groups."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from partdistillation.functional.rank_correlation import spearman

NAN = float("nan")


def correlated(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = random.normal(size=count)
    return x, np.round(x + random.normal(size=count), 1)  # with ties


def test_value_is_scipys() -> None:
    x, y = correlated(40)
    found = spearman(x, y, ["a", "b"] * 20, replicates=20, seed=0)
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.compared == 40
    assert found.low < found.value < found.high


def test_values_that_are_not_known_are_left_out() -> None:
    x, y = correlated(12)
    x[3], y[5] = NAN, NAN
    known = np.delete(np.arange(12), [3, 5])
    found = spearman(x, y, list("abcabcabcabc"), replicates=5, seed=0)
    assert found.value == pytest.approx(spearmanr(x[known], y[known]).statistic)
    assert found.compared == 10


def test_groups_are_drawn_whole() -> None:
    """Two groups, one agreeing and one not: replicates have the one, the other or both."""
    x = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    y = np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0])
    found = spearman(x, y, list("aaabbb"), replicates=100, seed=0)
    assert (found.value, found.low, found.high) == pytest.approx((0, -1, 1))
    assert found == spearman(x, y, list("aaabbb"), replicates=100, seed=0)


@pytest.mark.parametrize(
    ("x", "y"),
    [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [1.0, 2.0]), ([NAN, 1.0, 2.0], [0.0, 1.0, 2.0])],
)
def test_nothing_to_correlate(x: list[float], y: list[float]) -> None:
    found = spearman(np.array(x), np.array(y), ["a", "b", "c"][: len(x)], replicates=5, seed=0)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_one_group_has_no_interval() -> None:
    found = spearman(np.arange(4.0), np.arange(4.0), ["a"] * 4, replicates=5, seed=0)
    assert found.value == pytest.approx(1)
    assert np.isnan([found.low, found.high]).all()
