"""Both heads against one plain linear layer."""

import pytest
import torch
from torch import nn

from partdistillation.models.heads import ClassHead, PartHead


@pytest.fixture
def linear() -> nn.Linear:
    """4 object classes x 3 parts, and "no object"."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(8, 4 * 3 + 1)


def test_part_head_is_a_slice_of_the_whole_layer(linear: nn.Linear) -> None:
    head = PartHead.from_linear(linear.weight.detach(), linear.bias.detach(), 3)
    queries, classes = torch.randn(2, 3, 5, 8), torch.tensor([2, 0, 2])
    whole = linear(queries)
    for image, one in enumerate(classes.tolist()):
        own = whole[:, image, :, [3 * one, 3 * one + 1, 3 * one + 2, 12]]
        torch.testing.assert_close(head(queries, classes)[:, image], own)


def test_only_the_rows_that_were_read_get_a_gradient(linear: nn.Linear) -> None:
    head = PartHead.from_linear(linear.weight.detach(), linear.bias.detach(), 3)
    queries, classes = torch.randn(3, 5, 8), torch.tensor([2, 0, 2])
    torch.autograd.backward(head(queries, classes).square().sum())
    logits = linear(queries)
    own = torch.stack([logits[i][:, [3 * c, 3 * c + 1, 3 * c + 2, 12]] for i, c in enumerate([2, 0, 2])])
    torch.autograd.backward(own.square().sum())
    assert head.rows.grad is not None
    assert head.rows.grad.is_sparse
    assert sorted(head.rows.grad.coalesce().indices()[0].tolist()) == [0, 2]
    rows = head.rows.grad.to_dense().view(-1, 9)
    assert linear.weight.grad is not None
    assert head.no_object.grad is not None
    torch.testing.assert_close(torch.cat([rows, head.no_object.grad[None]])[:, :-1], linear.weight.grad)
    torch.testing.assert_close(torch.cat([rows, head.no_object.grad[None]])[:, -1], linear.bias.grad)


def test_parts_that_a_class_does_not_have_are_never_predicted(linear: nn.Linear) -> None:
    head = PartHead.from_linear(linear.weight.detach(), linear.bias.detach(), 3)
    before = head.rows.detach().clone().view(4, 3, 9)
    head.keep_only([{0, 1, 2}, {1}, {0, 2}, ()])
    after = head.rows.detach().view(4, 3, 9)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2, [0, 2]], before[2, [0, 2]])
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(5):
        logits = head(10 * torch.randn(3, 5, 8), torch.tensor([1, 2, 3]))
        targets = torch.tensor([1, 2, 3]).repeat_interleave(5)
        torch.autograd.backward(nn.functional.cross_entropy(logits.flatten(0, 1), targets))
        assert head.rows.grad is not None
        gradient = head.rows.grad.to_dense().view(4, 3, 9)
        assert not gradient[[1, 1, 2, 3, 3, 3], [0, 2, 1, 0, 1, 2]].any()
        optimizer.step()
        optimizer.zero_grad()
    probabilities = head(10 * torch.randn(3, 5, 8), torch.tensor([1, 2, 3])).softmax(dim=-1)
    assert not probabilities[0][:, [0, 2]].any()
    assert not probabilities[1][:, 1].any()
    assert (probabilities[2][:, 3] == 1).all()


def test_linear_layers_come_back(linear: nn.Linear) -> None:
    weight, bias = linear.weight.detach(), linear.bias.detach()
    for head in (PartHead.from_linear(weight, bias, 3), ClassHead.from_linear(weight, bias)):
        again = head.to_linear()
        assert torch.equal(again[0], weight)
        assert torch.equal(again[1], bias)


def test_another_heads_rows_come_after_the_own_ones(linear: nn.Linear) -> None:
    head = PartHead.from_linear(linear.weight.detach(), linear.bias.detach(), 3)
    other = PartHead(8, 2, 3)
    grown = head.extended(other)
    assert torch.equal(grown.rows, torch.cat([head.rows, other.rows]))
    assert torch.equal(grown.no_object, head.no_object)
    queries = torch.randn(1, 5, 8)
    assert torch.equal(grown(queries, torch.tensor([3])), head(queries, torch.tensor([3])))


def test_class_head_is_a_linear_layer(linear: nn.Linear) -> None:
    head = ClassHead.from_linear(linear.weight.detach(), linear.bias.detach())
    assert head.num_classes == 12
    queries = torch.randn(2, 3, 8)
    torch.testing.assert_close(head(queries), linear(queries))
