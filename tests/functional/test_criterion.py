"""The loss of matched sets: hand-computed values, transformers as judge, and the cases that break others'."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former import modeling_mask2former as judge

from partdistillation.errors import PartDistillationError
from partdistillation.functional import losses, matching
from partdistillation.functional.criterion import _most_uncertain, classification_loss, criterion
from partdistillation.functional.losses import LossWeights
from partdistillation.functional.matching import Points, Targets
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
    counts = [len(t.labels) for t in targets]
    return matching.draw_points(counts, count, layers=2, generator=generator, importance_sampling=importance)


@pytest.mark.parametrize("importance", [False, True])
def test_whole_loss_agrees_with_transformers(importance: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same random numbers. Its class weights are those of the config, in its own loss."""
    targets = random_targets([3, 1])
    embeddings, features, logits = random_output(layers=1)
    counts = [len(t.labels) for t in targets]
    points = matching.draw_points(
        counts, 64, layers=1, generator=torch.Generator().manual_seed(0), importance_sampling=importance
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
        ("loss_cross_entropy", ours.terms["classification"]),
        ("loss_mask", ours.terms["mask"]),
        ("loss_dice", ours.terms["dice"]),
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
    torch.testing.assert_close(fast, slow)
    gradients = [
        torch.autograd.grad(loss.total, (embeddings, features), retain_graph=True) for loss in (fast, slow)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_importance_sampling_takes_the_uncertain_candidates() -> None:
    masks = torch.tensor([5.0, -0.1, -5.0, 0.2]).view(1, 1, 4)
    centres = torch.stack([(torch.arange(4) + 0.5) / 4, torch.full((4,), 0.5)], dim=-1)[None]
    chosen = _most_uncertain(masks, centres, centres[:, :1], 3)[0, :, 0]
    assert sorted(chosen[:2].tolist()) == pytest.approx([0.375, 0.875])
    assert chosen[2] == pytest.approx(0.125)


def test_a_perfect_prediction_costs_next_to_nothing() -> None:
    targets = random_targets([2], classes=1)
    features = torch.where(targets[0].masks, 20.0, -20.0)[None]
    embeddings = torch.eye(2)[None, None]
    logits = [torch.tensor([20.0, 0.0]).expand(1, 1, 2, 2)]
    centres = (torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE)) + 0.5) / SIZE
    loss = criterion(embeddings, features, logits, targets, Points(centres[None]))
    assert loss.total.item() < 1e-2


@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("counts", [[0, 0], [0, 3], [1, 1], [9, 2], [5, 5]])
def test_any_number_of_targets(counts: list[int], importance: bool) -> None:
    targets = random_targets(counts)
    embeddings, features, logits = random_output()
    loss = criterion(embeddings, features, logits, targets, uniform_points(targets, importance=importance))
    torch.autograd.backward(loss.total)
    assert torch.isfinite(loss.total)
    assert (loss.terms["mask"] > 0).all() == (sum(counts) > 0)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_each_part_is_classified_among_its_own_objects_parts() -> None:
    """Two groups, three queries: the matched read their target's group, the other the mean of both."""
    logits = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    targets = Targets(torch.zeros(2, 4, 4, dtype=torch.bool), torch.tensor([2, 0]), torch.tensor([0, 1]))
    pairs = matching.Match(torch.tensor([[1, 0]]), torch.tensor([[0, 1]]))
    loss = classification_loss([logits], [targets], [pairs], 0.1)
    negative = -logits[0].log_softmax(-1)
    unmatched = 0.1 * (negative[0, 2, 3] + negative[1, 2, 3]) / 2
    expected = (negative[0, 1, 2] + negative[1, 0, 0] + unmatched) / 2.1
    torch.testing.assert_close(loss[0], expected)


def test_images_without_any_group_dont_count() -> None:
    targets = [random_targets([2])[0], random_targets([0])[0]]
    embeddings, features, logits = random_output()
    logits[1] = logits[1][:, :0]
    loss = criterion(embeddings, features, logits, targets, uniform_points(targets))
    alone = criterion(
        embeddings[:, :1], features[:1], logits[:1], targets[:1], Points(uniform_points(targets).shared[:1])
    )
    torch.testing.assert_close(loss.terms["classification"], alone.terms["classification"])
    nothing = [random_targets([0])[0]] * 2
    empty = criterion(embeddings, features, [one[:, :0] for one in logits], nothing, uniform_points(nothing))
    assert empty.total.item() == 0


def test_the_number_of_masks_divides_once() -> None:
    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets)
    loss, halved = (
        criterion(embeddings, features, logits, targets, points, num_masks=n) for n in (None, 10.0)
    )
    torch.testing.assert_close(loss.terms["mask"], 2 * halved.terms["mask"])
    torch.testing.assert_close(loss.terms["classification"], halved.terms["classification"])


def test_parts_of_a_batch_sum_up_to_it() -> None:
    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets)
    queries = embeddings.shape[2]
    weight = 5 + 0.1 * (2 * queries - 5)  # five matched, the others are of no object
    whole = criterion(embeddings, features, logits, targets, points)
    parts = [
        criterion(
            embeddings[:, part], features[part], logits[part], targets[part], Points(points.shared[part]),
            num_masks=5.0, query_weight=weight,
        )
        for part in (slice(0, 1), slice(1, 2))
    ]  # fmt: skip
    torch.testing.assert_close(parts[0].total + parts[1].total, whole.total)
    for name, term in whole.terms.items():
        torch.testing.assert_close(parts[0].terms[name] + parts[1].terms[name], term)


def test_divergence_is_reported() -> None:
    targets = random_targets([1, 1])
    embeddings, features, logits = random_output()
    logits[0] = logits[0] * float("nan")
    with pytest.raises(PartDistillationError, match="diverged"):
        criterion(embeddings, features, logits, targets, uniform_points(targets))


@pytest.mark.parametrize("importance", [False, True])
def test_the_fused_loss_is_the_one_by_definition(importance: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets, importance=importance)
    results = []
    for _ in range(2):
        loss = criterion(embeddings, features, logits, targets, points)
        results.append([loss, torch.autograd.grad(loss.total, (embeddings, features))])
        monkeypatch.setattr(losses, "FUSED", ())
    torch.testing.assert_close(*results)


@dataclass(frozen=True)
class OneMore(LossWeights):
    squared: float = 3.0


def test_a_term_more_is_matched_weighed_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def squared(logits: Tensor, targets: Tensor) -> Tensor:
        return (logits.sigmoid() - targets).square().mean(dim=-1)

    targets = random_targets([3, 2])
    embeddings, features, logits = random_output()
    points = uniform_points(targets)
    plain = criterion(embeddings, features, logits, targets, points)
    monkeypatch.setitem(losses.MASK_TERMS, "squared", squared)
    unweighed, weighed = (
        criterion(embeddings, features, logits, targets, points, weights)
        for weights in (OneMore(squared=0.0), OneMore())
    )
    assert list(unweighed.terms) == ["classification", "mask", "dice", "squared"]
    assert unweighed.terms["squared"].gt(0).all()
    torch.testing.assert_close(unweighed.total, plain.total, rtol=0, atol=0)
    terms = sum(OneMore().of(name) * term.sum() for name, term in weighed.terms.items())
    torch.testing.assert_close(weighed.total, terms)
    alone = criterion(embeddings, features, logits, targets, points, OneMore(0.0, 0.0, 0.0, 0.1, 1.0))
    assert (alone.terms["squared"] <= unweighed.terms["squared"]).all()  # the matcher minds it alone
