"""NMI and ARI: scikit-learn is the judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from partdistillation.functional.clustering_scores import adjusted_rand_index, normalized_mutual_information


def table(predicted: list[int], truth: list[int]) -> np.ndarray:
    counts = np.zeros((4, 3), dtype=np.int64)
    np.add.at(counts, (np.array(predicted, int), np.array(truth, int)), 1)
    return counts[None]


pixels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(pixels)
def test_scores_are_those_of_scikit_learn(labels: list[tuple[int, int]]) -> None:
    predicted, truth = (list(values) for values in zip(*labels, strict=True))
    counts = table(predicted, truth)
    expected = normalized_mutual_info_score(truth, predicted), adjusted_rand_score(truth, predicted)
    if len(set(predicted)) == len(set(truth)) == 1:  # nothing is said, and nothing is wrong
        expected = (1.0, 1.0)
    found = normalized_mutual_information(counts).item(), adjusted_rand_index(counts).item()
    assert found == pytest.approx(expected, abs=1e-9)


def test_many_tables_at_once_and_no_pixels() -> None:
    tables = np.concatenate(
        [table([0, 0, 1, 1], [0, 0, 1, 1]), table([0, 0, 1, 1], [0, 1, 0, 1]), table([], [])]
    )
    assert normalized_mutual_information(tables)[:2] == pytest.approx([1.0, 0.0], abs=1e-12)
    assert adjusted_rand_index(tables)[:2] == pytest.approx([1.0, -0.5])
    assert np.isnan(normalized_mutual_information(tables)[2])
    assert np.isnan(adjusted_rand_index(tables)[2])


def test_counts_of_a_large_data_set_do_not_overflow() -> None:
    counts = np.array([[[10**12, 10**9], [10**9, 10**12]]])
    small = np.array([[[10**6, 10**3], [10**3, 10**6]]])
    assert adjusted_rand_index(counts).item() == pytest.approx(adjusted_rand_index(small).item(), abs=1e-5)
