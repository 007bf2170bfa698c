"""Random points, and the assignment of queries to targets."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional.matching import Points, Targets, assign, draw_points


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_assignment_is_the_cheapest(queries: int, count: int, seed: int) -> None:
    """Brute force over all assignments of queries to targets."""
    costs = np.random.default_rng(seed).normal(size=(1, queries, count))
    match = assign(costs, torch.device("cpu"))
    total = costs[0][match.queries[0], match.targets[0]].sum()
    square = costs[0] if queries <= count else costs[0].T
    rows, columns = square.shape
    sums = [square[range(rows), list(chosen)].sum() for chosen in permutations(range(columns), rows)]
    assert match.queries.shape == (1, min(queries, count))
    assert total == pytest.approx(min(sums))


def test_points_are_a_function_of_the_generator() -> None:
    labels = [torch.zeros(count, dtype=torch.int64) for count in (1, 2)]
    targets = [Targets(torch.zeros(len(one), 4, 4, dtype=torch.bool), one, one) for one in labels]

    def draw() -> Points:
        generator = torch.Generator().manual_seed(2)
        return draw_points(targets, 40, layers=2, generator=generator, importance_sampling=True)

    first, second = draw(), draw()
    torch.testing.assert_close(first, second)
    assert first.importance is not None
    assert first.importance.candidates.shape == (2, 3, 120, 2)
    assert first.importance.uniform.shape == (2, 3, 10, 2)
