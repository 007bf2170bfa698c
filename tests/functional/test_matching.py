"""Matcher and criterion: hand-computed values, transformers as judge, and the cases that break others'."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former import modeling_mask2former as judge

from partdistillation.errors import PartDistillationError
from partdistillation.functional import matching
from partdistillation.functional.matching import LossWeights, Points, Targets, criterion
from partdistillation.functional.sampling import sample_features, sample_masks

SIZE = 16


def random_targets(counts: list[int], *, classes: int = 3, groups: int = 1, seed: int = 0) -> list[Targets]:
    generator = torch.Generator().manual_seed(seed)

    def integers(high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator)

    return [
        Targets(
            torch.rand(count, SIZE, SIZE, generator=generator) > 0.6,
            integers(classes, count),
            integers(groups, count),
        )
        for count in counts
    ]


def random_output(
    *, layers: int = 2, images: int = 2, queries: int = 5, classes: int = 3, groups: int = 1
) -> tuple[Tensor, Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(layers, images, queries, 8, generator=generator)
    features = torch.randn(images, 8, SIZE, SIZE, generator=generator)
    logits = torch.randn(layers, images, groups, queries, classes + 1, generator=generator)
    return embeddings.requires_grad_(), features.requires_grad_(), list(logits.requires_grad_().unbind(1))


def uniform_points(targets: list[Targets], count: int = 64, *, importance: bool = False) -> Points:
    generator = torch.Generator().manual_seed(2)
    return matching.draw_points(targets, count, layers=2, generator=generator, importance_sampling=importance)


def test_costs_by_hand() -> None:
    logits = torch.tensor([[0.0], [0.0], [0.0], [0.0]])  # probability 1/2 everywhere
    targets = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    cross_entropy, dice = matching.pairwise_costs(logits, targets)
    np.testing.assert_allclose(cross_entropy[:, 0], [np.log(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(dice[:, 0], [1 - 3 / 5, 1 - 1 / 3], rtol=1e-6)


def test_costs_and_losses_agree_with_transformers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, 40, generator=generator)
    targets = torch.rand(4, 40, generator=generator)
    cross_entropy, dice = matching.pairwise_costs(logits.T.clone(), targets)
    expected = judge.pair_wise_sigmoid_cross_entropy_loss(logits, targets)
    np.testing.assert_allclose(cross_entropy.T, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dice.T, judge.pair_wise_dice_loss(logits, targets), rtol=1e-5, atol=1e-6)
    mask, dice_loss = matching.mask_losses(logits[None, :4], targets[None])
    np.testing.assert_allclose(mask[0], judge.sigmoid_cross_entropy_loss(logits[:4], targets, 1), rtol=1e-5)
    np.testing.assert_allclose(dice_loss[0], judge.dice_loss(logits[:4], targets, 1), rtol=1e-5)


@pytest.mark.parametrize("points", [1, 64, 150])
def test_gradients_of_mask_losses(points: int) -> None:
    """Against PyTorch's, for sure and unsure logits, and for any number of points."""
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(2, 3, points, generator=generator)).requires_grad_()
    targets = torch.rand(2, 3, points, generator=generator)
    probabilities = logits.sigmoid()
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    dice = 1 - (2 * (probabilities * targets).sum(-1) + 1) / ((probabilities + targets).sum(-1) + 1)
    gradients = []
    for mask_loss, dice_loss in (
        (cross_entropy.mean(-1).sum(-1), dice.sum(-1)),
        matching.mask_losses(logits, targets),
    ):
        total = ((5 * mask_loss + 7 * dice_loss) * torch.tensor([2.0, 3.0])).sum()
        gradients.append(torch.autograd.grad(total, logits)[0])
    torch.testing.assert_close(*gradients)


def test_mask_losses_of_sure_logits() -> None:
    logits, targets = torch.tensor([[[-1e4, 1e4, 90.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]])
    cross_entropy, _ = matching.mask_losses(logits, targets)
    np.testing.assert_allclose(cross_entropy, [1e4 / 3], rtol=1e-6)


@pytest.mark.parametrize("importance", [False, True])
def test_whole_loss_agrees_with_transformers(importance: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same random numbers. Its class weights are those of the config, in its own loss."""
    targets = random_targets([3, 1])
    embeddings, features, logits = random_output(layers=1)
    points = matching.draw_points(
        targets, 64, layers=1, generator=torch.Generator().manual_seed(0), importance_sampling=importance
    )
    draws = [one[None] for one in points.shared]
    if points.importance is None:
        per_target = torch.cat([points.shared[:1].expand(3, -1, -1), points.shared[1:]])
        points = Points(points.shared, matching.ImportancePoints(per_target[None, :, :0], per_target[None]))
        draws += [torch.zeros(4, 64, 2), per_target]
    else:
        draws += [points.importance.candidates[0], points.importance.uniform[0]]
    ours = criterion(embeddings, features, logits, targets, points)
    pairs = expected_pairs(embeddings, features, logits, targets, points)
    # its loss takes points in the order of queries
    order = [int(i) for i in np.concatenate([targets_ for _, targets_ in pairs]) + np.array([0, 0, 0, 3])]
    draws[2:] = [one[order] for one in draws[2:]]
    feed = iter(draws)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: next(feed))
    config = Mask2FormerConfig(  # type: ignore[call-arg]
        num_labels=3, train_num_points=64, importance_sample_ratio=0.75 if importance else 0.0,
        oversample_ratio=3.0 if importance else 1.0,
    )  # fmt: skip
    loss = judge.Mask2FormerLoss(config, {})
    masks = torch.einsum("bqc,bchw->bqhw", embeddings[0], features)
    classes = torch.stack(logits)[:, 0, 0]
    theirs = loss(masks, classes, [t.masks.float() for t in targets], [t.labels for t in targets])
    for name, value in (
        ("loss_cross_entropy", ours.classification),
        ("loss_mask", ours.mask),
        ("loss_dice", ours.dice),
    ):
        np.testing.assert_allclose(value.item(), theirs[name].item(), rtol=1e-5)


def expected_pairs(
    embeddings: Tensor, features: Tensor, logits: list[Tensor], targets: list[Targets], points: Points
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of each image in the queries' order, as scipy and transformers return them."""
    found = matching.match(
        embeddings,
        sample_features(features, points.shared),
        logits,
        targets,
        [sample_masks(t.masks, p) for t, p in zip(targets, points.shared, strict=True)],
        LossWeights(),
    )
    pairs = [(match.queries[0].numpy(), match.targets[0].numpy()) for match in found]
    return [(queries[np.argsort(queries)], columns[np.argsort(queries)]) for queries, columns in pairs]


def test_shared_points_are_importance_points_that_happen_to_agree() -> None:
    """The linear-first loss equals the one that computes the masks and samples them."""
    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets)
    per_target = torch.cat([points.shared[:1].expand(3, -1, -1), points.shared[1:].expand(2, -1, -1)])
    per_layer = per_target.expand(2, -1, -1, -1)
    explicit = Points(points.shared, matching.ImportancePoints(per_layer[:, :, :0], per_layer))
    fast, slow = (criterion(embeddings, features, logits, targets, one) for one in (points, explicit))
    for quick, full in zip(fast, slow, strict=True):
        torch.testing.assert_close(quick, full)
    gradients = [
        torch.autograd.grad(losses.total, (embeddings, features), retain_graph=True)
        for losses in (fast, slow)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_importance_sampling_takes_the_uncertain_candidates() -> None:
    masks = torch.tensor([5.0, -0.1, -5.0, 0.2]).view(1, 1, 4)
    centres = torch.stack([(torch.arange(4) + 0.5) / 4, torch.full((4,), 0.5)], dim=-1)[None]
    chosen = matching._most_uncertain(masks, centres, centres[:, :1], 3)[0, :, 0]
    assert sorted(chosen[:2].tolist()) == pytest.approx([0.375, 0.875])
    assert chosen[2] == pytest.approx(0.125)


def test_a_perfect_prediction_costs_next_to_nothing() -> None:
    targets = random_targets([2], classes=1)
    features = torch.where(targets[0].masks, 20.0, -20.0)[None]
    embeddings = torch.eye(2)[None, None]
    logits = [torch.tensor([20.0, 0.0]).expand(1, 1, 2, 2)]
    centres = (torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE)) + 0.5) / SIZE
    losses = criterion(embeddings, features, logits, targets, Points(centres[None]))
    assert losses.total.item() < 1e-2


@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("counts", [[0, 0], [0, 3], [1, 1], [9, 2], [5, 5]])
def test_any_number_of_targets(counts: list[int], importance: bool) -> None:
    targets = random_targets(counts)
    embeddings, features, logits = random_output()
    losses = criterion(embeddings, features, logits, targets, uniform_points(targets, importance=importance))
    torch.autograd.backward(losses.total)
    assert torch.isfinite(losses.total)
    assert (losses.mask > 0).all() == (sum(counts) > 0)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_assignment_is_the_cheapest(queries: int, count: int, seed: int) -> None:
    """Brute force over all assignments of queries to targets."""
    costs = np.random.default_rng(seed).normal(size=(1, queries, count))
    match = matching._assign(costs, torch.device("cpu"))
    found = costs[0][match.queries[0], match.targets[0]].sum()
    square = costs[0] if queries <= count else costs[0].T
    rows, columns = square.shape
    sums = [square[range(rows), list(one)].sum() for one in permutations(range(columns), rows)]
    assert match.queries.shape == (1, min(queries, count))
    assert found == pytest.approx(min(sums))


def test_each_part_is_classified_among_its_own_objects_parts() -> None:
    """Two groups, three queries: the matched read their target's group, the other the mean of both."""
    logits = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    targets = Targets(torch.zeros(2, 4, 4, dtype=torch.bool), torch.tensor([2, 0]), torch.tensor([0, 1]))
    pairs = matching.Match(torch.tensor([[1, 0]]), torch.tensor([[0, 1]]))
    loss = matching.classification_loss([logits], [targets], [pairs], 0.1)
    negative = -logits[0].log_softmax(-1)
    unmatched = 0.1 * (negative[0, 2, 3] + negative[1, 2, 3]) / 2
    expected = (negative[0, 1, 2] + negative[1, 0, 0] + unmatched) / 2.1
    torch.testing.assert_close(loss[0], expected)


def test_images_without_any_group_dont_count() -> None:
    targets = [random_targets([2])[0], random_targets([0])[0]]
    embeddings, features, logits = random_output()
    logits[1] = logits[1][:, :0]
    losses = criterion(embeddings, features, logits, targets, uniform_points(targets))
    alone = criterion(
        embeddings[:, :1], features[:1], logits[:1], targets[:1], Points(uniform_points(targets).shared[:1])
    )
    torch.testing.assert_close(losses.classification, alone.classification)
    nothing = [random_targets([0])[0]] * 2
    empty = criterion(embeddings, features, [one[:, :0] for one in logits], nothing, uniform_points(nothing))
    assert empty.total.item() == 0


def test_the_number_of_masks_divides_once() -> None:
    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets)
    losses, halved = (
        criterion(embeddings, features, logits, targets, points, num_masks=n) for n in (None, 10.0)
    )
    torch.testing.assert_close(losses.mask, 2 * halved.mask)
    torch.testing.assert_close(losses.classification, halved.classification)
    assert matching.mean_target_count(targets, torch.device("cpu")) == 5
    assert matching.mean_target_count([], torch.device("cpu")) == 1


def test_points_are_a_function_of_the_generator() -> None:
    targets = random_targets([1, 2])
    first, second = (uniform_points(targets, 40, importance=True) for _ in range(2))
    torch.testing.assert_close(first, second)
    assert first.importance is not None
    assert first.importance.candidates.shape == (2, 3, 120, 2)
    assert first.importance.uniform.shape == (2, 3, 10, 2)


def test_divergence_is_reported() -> None:
    targets = random_targets([1, 1])
    embeddings, features, logits = random_output()
    logits[0] = logits[0] * float("nan")
    with pytest.raises(PartDistillationError, match="diverged"):
        criterion(embeddings, features, logits, targets, uniform_points(targets))
