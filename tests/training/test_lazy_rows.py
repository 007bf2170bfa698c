"""Lazy rows: replayed exactly they are dense AdamW's; their state is that of the rows that were touched."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from partdistillation.errors import CheckpointError
from partdistillation.models.heads import PartHead
from partdistillation.training.lazy_rows import REPLAYED, LazyRows
from partdistillation.training.optim import Optimizer

ROWS, DIM, DECAY = 5, 3, 0.05


def table(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed)))


def gradients(touched: list[list[int]], scale: float = 1.0) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for rows in touched:
        yield torch.tensor(sorted(rows)).long(), scale * torch.randn(len(rows), DIM, generator=generator)


def rate(step: int) -> float:
    return 0.01 * (1 + step % 3)


def dense(touched: list[list[int]], scale: float = 1.0) -> nn.Parameter:
    weights = table()
    adamw = torch.optim.AdamW([weights], weight_decay=DECAY, foreach=False)
    for step, (rows, values) in enumerate(gradients(touched, scale)):
        weights.grad = torch.zeros_like(weights).index_copy(0, rows, values)
        adamw.param_groups[0]["lr"] = rate(step)
        adamw.step()
    return weights


def lazily(touched: list[list[int]], scale: float = 1.0, *, exact: bool = True) -> LazyRows:
    rows = LazyRows(table(), weight_decay=DECAY, exact=exact)
    for step, (some, values) in enumerate(gradients(touched, scale)):
        rows.update(some, values, rate(step))
    return rows


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, ROWS - 1), unique=True, max_size=3), min_size=1, max_size=30),
    st.sampled_from([1.0, 1e-8]),  # 1e-8: where AdamW's epsilon matters
)
def test_replayed_rows_are_those_of_dense_adamw(touched: list[list[int]], scale: float) -> None:
    rows = lazily(touched, scale)
    rows.catch_up()
    torch.testing.assert_close(rows.parameter, dense(touched, scale), rtol=2e-6, atol=2e-6)


def test_after_a_long_absence_too() -> None:
    """Momentum has died away when the replay ends; decay goes on, and the moments are right at the return."""
    touched = [[0, 1], *([2] for _ in range(3 * REPLAYED)), [0]]
    rows = lazily(touched)
    expected = dense(touched)
    torch.testing.assert_close(rows.parameter[0], expected[0], rtol=2e-6, atol=2e-6)
    rows.catch_up()
    torch.testing.assert_close(rows.parameter, expected, rtol=2e-6, atol=2e-6)
    before = rows.parameter.detach().clone()
    rows.catch_up()
    assert torch.equal(rows.parameter, before)


def test_how_far_lazy_rows_are_from_dense_ones() -> None:
    """A row touched once, at step 1: dense AdamW has it coast on, by ten of its steps in all, and decay on.

    Momentum is .9^n of the first gradient's while the root of the mean square hardly falls: the sum of
    .9^n is 10. Lazily, it takes its one step, and is decayed once.
    """
    touched = [[0], *([1] for _ in range(200))]
    start, (_, first) = table()[0].detach(), next(gradients(touched))
    lazy = lazily(touched, exact=False).parameter[0].detach()
    torch.testing.assert_close(lazy, start * (1 - rate(0) * DECAY) - rate(0) * first[0].sign())
    far = dense(touched)[0].detach()
    decayed = start * torch.tensor([1 - rate(step) * DECAY for step in range(201)]).prod()
    moved = (far - decayed).abs() / 0.01
    assert (moved > 5).all()
    assert (moved < 30).all()


def test_moments_are_kept_of_touched_rows_only() -> None:
    rows = lazily([[3], [1, 3]], exact=False)
    state = rows.state()
    assert state["touched"].tolist() == [1, 3]
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (2, DIM)
    assert state["steps"].tolist() == [0, 1, 0, 2, 0]


@pytest.mark.parametrize("exact", [False, True])
def test_a_resumed_table_goes_on_bit_for_bit(exact: bool) -> None:
    touched = [[3], [1, 3], [0], [1, 4], [3]]
    whole = lazily(touched, exact=exact)
    part = lazily(touched[:2], exact=exact)
    saved = {kind: value.clone() for kind, value in part.state().items()}
    resumed = LazyRows(part.parameter, weight_decay=DECAY, exact=exact)
    resumed.load("rows", saved)
    for step, (some, values) in list(enumerate(gradients(touched)))[2:]:
        resumed.update(some, values, rate(step))
    assert torch.equal(resumed.parameter, whole.parameter)
    for kind, value in whole.state().items():
        assert torch.equal(value, resumed.state()[kind]), kind


def test_state_of_another_table_is_refused() -> None:
    rows = lazily([[1]])
    state = rows.state() | {"steps": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(CheckpointError, match=r"rows:steps has shape \(3,\), expected \(5,\)"):
        rows.load("rows", state)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.class_predictor = PartHead.from_linear(*linear(), num_parts=2)


def linear() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2 * ROWS + 1, DIM, generator=generator), torch.randn(2 * ROWS + 1, generator=generator)


def test_a_part_head_reads_rows_that_are_up_to_date() -> None:
    """Training with `exact_rows` is training one linear layer with dense AdamW."""
    network, (weight, bias) = Network(), map(nn.Parameter, linear())
    optimizer = Optimizer(network, learning_rate=0.01, clip_norm=0.1, exact_rows=True)
    adamw = torch.optim.AdamW([weight, bias], lr=0.01, weight_decay=DECAY)
    for step, classes in enumerate([[0, 1], [1, 1], [2], [2], [0, 4], [1], [0]]):
        queries = torch.randn(len(classes), 4, DIM, generator=torch.Generator().manual_seed(step))
        found = network.class_predictor(queries, torch.tensor(classes))
        whole = nn.functional.linear(queries, weight, bias)
        wanted = torch.stack([whole[i][:, [2 * c, 2 * c + 1, 2 * ROWS]] for i, c in enumerate(classes)])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        optimizer.zero_grad()
        adamw.zero_grad()
        torch.autograd.backward([found.square().mean(), wanted.square().mean()])
        torch.nn.utils.clip_grad_norm_([weight, bias], 0.1)
        optimizer.step()
        adamw.step()
    optimizer.finish()
    for mine, other in zip(network.class_predictor.to_linear(), (weight, bias), strict=True):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-5, atol=1e-5)
