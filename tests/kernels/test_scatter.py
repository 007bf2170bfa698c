"""Rows added to a table, by hand and on several threads: the gradient of weighted sums."""

import numpy as np
import pytest
import torch
from torch import Tensor

from partdistillation.kernels.scatter import with_scattered_gradient


def scatter(rows: Tensor, places: Tensor, weights: Tensor, count: int) -> Tensor:
    table = torch.zeros(len(rows), count, rows.shape[2], requires_grad=True)
    sums = with_scattered_gradient(lambda *_: torch.zeros_like(rows), table, places, weights)
    (of_table,) = torch.autograd.grad(sums, table, rows)
    return of_table


def test_scatter_by_hand() -> None:
    rows = torch.tensor([[[1.0, 2], [10, 20]]])
    places, weights = (
        torch.tensor([[[0, 2, 1, 1], [2, 2, 1, 1]]]),
        torch.tensor([[[1, 0.5, 0, 0], [1, 1, 0, 0]]]),
    )
    found = scatter(rows, places, weights, 4)
    np.testing.assert_array_equal(found, [[[1, 2], [0, 0], [20.5, 41], [0, 0]]])


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    rows, weights = torch.randn(5, 30, 7, generator=random), torch.rand(5, 30, 4, generator=random)
    places = torch.randint(0, 9, (5, 30, 4), generator=random)
    results = set()
    for threads in (1, 2, 5, 100):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.add(scatter(rows, places, weights, 9).numpy().tobytes())
    assert len(results) == 1
