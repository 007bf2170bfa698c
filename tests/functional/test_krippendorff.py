"""Krippendorff's alpha: his own worked examples, and the definition written out."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from partdistillation.functional.krippendorff import alpha_of, nominal_alpha, nominal_tally

# "Computing Krippendorff's Alpha-Reliability" (2011): sections A to C; `.` is a value that is missing.
BINARY = ("0100000010", "1110010000")
TWO_OBSERVERS = ("aabbdcccedda", "babbbccceddd")
FOUR_OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
# The example of three coders and fifteen units in Wikipedia's article "Krippendorff's alpha".
THREE_CODERS = (".....34121133.3", "1.213343.......", "..21344.21133.4")


def counted(ratings: Sequence[Sequence[str]]) -> np.ndarray:
    values = sorted({value for row in ratings for value in row} - {"."})
    return np.array([[unit.count(value) for value in values] for unit in zip(*ratings, strict=True)])


@pytest.mark.parametrize(
    ("ratings", "alpha"),
    [(BINARY, 0.095), (TWO_OBSERVERS, 0.692), (FOUR_OBSERVERS, 0.743), (THREE_CODERS, 0.691)],
)
def test_published_examples(ratings: tuple[str, ...], alpha: float) -> None:
    assert len({len(row) for row in ratings}) == 1
    assert nominal_alpha(counted(ratings)) == pytest.approx(alpha, abs=5e-4)


def test_by_hand() -> None:
    """Units (a, a), (a, b): 2 of 4 ordered pairs differ; of the values a, a, a, b, 6 of 12 do."""
    assert nominal_alpha(np.array([[2, 0], [1, 1]])) == pytest.approx(1 - (2 / 4) / (6 / 12))
    assert nominal_alpha(np.array([[2, 0], [0, 2]])) == 1


@pytest.mark.parametrize("counts", [[[1, 0], [0, 1]], [[2, 0], [3, 0]]])
def test_nothing_could_differ(counts: list[list[int]]) -> None:
    assert math.isnan(nominal_alpha(np.array(counts)))
    assert math.isnan(nominal_alpha(np.zeros((0, 2), dtype=np.int64)))


def by_definition(units: list[list[int]]) -> float:
    """Alpha as the coincidence matrix defines it, pair by pair."""
    paired = [unit for unit in units if len(unit) > 1]
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in paired
    )
    everything = [value for unit in paired for value in unit]
    expected = sum(a != b for a, b in itertools.permutations(everything, 2)) / max(len(everything) - 1, 1)
    return 1 - observed / expected if expected else math.nan


units = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=8)


def counts_of(rated: list[list[int]]) -> np.ndarray:
    return np.array([np.bincount(unit, minlength=4) for unit in rated], dtype=np.int64)


@given(units)
def test_definition(rated: list[list[int]]) -> None:
    assert nominal_alpha(counts_of(rated)) == pytest.approx(by_definition(rated), nan_ok=True)


@given(units)
def test_other_software(rated: list[list[int]]) -> None:
    krippendorff = pytest.importorskip("krippendorff", reason="needs the package krippendorff")
    counts = counts_of(rated)
    assume(not math.isnan(by_definition(rated)))
    other = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert nominal_alpha(counts) == pytest.approx(other)


@given(units, st.integers(0, 8))
def test_tallies_add_up(rated: list[list[int]], place: int) -> None:
    counts = counts_of(rated)
    parts = [nominal_tally(counts[:place]), nominal_tally(counts[place:])]
    assert sum(parts) == pytest.approx(nominal_tally(counts))
    replicates = alpha_of(np.stack([nominal_tally(counts), 2 * nominal_tally(counts)]))
    assert replicates[0] == pytest.approx(nominal_alpha(counts), nan_ok=True)
