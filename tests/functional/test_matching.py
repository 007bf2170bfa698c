"""Random points, and the assignment of queries to targets."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional.matching import Points, assign, draw_points


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
    def draw() -> Points:
        generator = torch.Generator().manual_seed(2)
        return draw_points((1, 2), 40, layers=2, generator=generator, importance_sampling=True)

    first, second = draw(), draw()
    torch.testing.assert_close(first, second)
    assert first.importance is not None
    assert first.importance.candidates.shape == (2, 3, 120, 2)
    assert first.importance.uniform.shape == (2, 3, 10, 2)


def test_an_images_points_do_not_depend_on_who_draws_the_others() -> None:
    def draw(own: Sequence[int] | None) -> Points:
        generator = torch.Generator().manual_seed(2)
        return draw_points((1, 2, 0, 3), 40, own=own, layers=2, generator=generator, importance_sampling=True)

    whole, part = draw(None), draw([3, 1])
    assert whole.importance is not None
    assert part.importance is not None
    assert torch.equal(part.shared, whole.shared[[3, 1]])
    assert torch.equal(part.importance.candidates, whole.importance.candidates[:, [3, 4, 5, 1, 2]])
    assert torch.equal(part.importance.uniform, whole.importance.uniform[:, [3, 4, 5, 1, 2]])
