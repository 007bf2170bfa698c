"""Set prediction as the loop's objective: the criterion's total, for every head."""

import numpy as np
import pytest
import torch
from transformers import Mask2FormerConfig, ResNetConfig

from partdistillation.config import TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.runs.profiling import profiled
from partdistillation.training.objective import SetPrediction
from partdistillation.training.optim import Optimizer

CPU = torch.device("cpu")
SIZE = 64
PLAIN = TrainingConfig(points=64)
DOUBLED = TrainingConfig(points=64, class_weight=4.0, mask_weight=10.0, dice_weight=10.0)


def network(num_parts: int) -> PartMask2Former:
    backbone = ResNetConfig(  # type: ignore[call-arg]
        layer_type="basic",
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=1,
        encoder_feedforward_dim=16,
        decoder_layers=3,
        dim_feedforward=16,
        num_queries=6,
    )
    return PartMask2Former.create(config, ModelInfo(("car", "cat", "tree"), num_parts=num_parts), seed=0)


def example(targets: int, object_classes: tuple[int, ...]) -> Example:
    chance = np.random.default_rng(targets)
    rows = np.arange(SIZE)[:, None] // 8
    masks = np.stack([np.broadcast_to(rows == row, (SIZE, SIZE)) for row in range(8)])[:targets]
    return Example(
        chance.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        masks,
        np.arange(targets) % 2,
        np.arange(targets) % max(len(object_classes), 1),
        object_classes,
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BATCH = {
    0: [example(3, (0,)), example(0, ()), example(2, (0,))],  # one set of classes for all
    2: [example(3, (2,)), example(0, ()), example(2, (0, 2))],
}
"""By the number of parts an object class."""


@pytest.mark.parametrize("num_parts", [0, 2])
@pytest.mark.parametrize("importance", [False, True])
def test_loss_and_terms(num_parts: int, importance: bool) -> None:
    model = network(num_parts).eval()
    totals = []
    for config in (PLAIN, DOUBLED):
        objective = SetPrediction(model, config.updated({"importance_sampling": importance}), CPU)
        total, numbers = objective(BATCH[num_parts], generator())
        assert set(numbers) == {"classification", "mask", "dice"}
        assert all(torch.isfinite(value) for value in numbers.values())
        totals.append(total.item())
    # Twice the weights leave the matching as it is.
    assert totals[1] == pytest.approx(2 * totals[0], rel=1e-5)


def test_chance_comes_from_the_generator_alone() -> None:
    objective = SetPrediction(network(2).eval(), PLAIN, CPU)
    losses = []
    for global_seed, seed in ((0, 1), (7, 1), (0, 2)):
        torch.manual_seed(global_seed)
        losses.append(objective(BATCH[2], generator(seed))[0].item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("num_parts", [0, 2])
@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_sum_up_to_it(num_parts: int, importance: bool, parts: int) -> None:
    """Loss, logged terms and gradients, those of a part head's rows too."""
    batch = [*BATCH[num_parts], example(8, (1,)), example(1, (0,))]  # 8 targets, 6 queries
    model = network(num_parts).eval()
    objective = SetPrediction(model, PLAIN.updated({"importance_sampling": importance}), CPU)
    logged, gradients = [], []
    for count in (1, parts):
        model.zero_grad()
        sums: dict[str, float] = {"loss": 0.0}
        for loss, numbers in objective.in_parts(batch, generator(), count):
            torch.autograd.backward(loss)
            for name, value in {"loss": loss, **numbers}.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        logged.append(sums)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed.to_dense(), whole.to_dense(), rtol=1e-4, atol=1e-6)


def test_bfloat16_is_near_float32_and_leaves_losses_and_weights_in_it() -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        model = network(2)
        loss, numbers = SetPrediction(model, PLAIN.updated({"precision": precision}), CPU)(
            BATCH[2], generator()
        )
        torch.autograd.backward(loss)
        assert {value.dtype for value in (loss, *numbers.values())} == {torch.float32}
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
        losses[precision] = loss.item()
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)


def test_its_steps_are_profiled() -> None:
    with profiled() as profile:
        SetPrediction(network(2), PLAIN, CPU)(BATCH[2], generator())
    assert {"/".join(place): cost.calls for place, cost in profile.costs.items()} == {
        "forward": 1,
        "loss": 1,
        "loss/matcher": 1,
        "loss/matcher/Hungarian": 1,
    }


def test_only_the_images_object_classes_get_a_gradient() -> None:
    model = network(2)
    torch.autograd.backward(SetPrediction(model, PLAIN, CPU)(BATCH[2], generator())[0])
    gradient = model.get_parameter("class_predictor.rows").grad
    assert gradient is not None
    assert gradient.coalesce().indices()[0].tolist() == [0, 2]


@pytest.mark.parametrize("num_parts", [0, 2])
def test_a_batch_without_targets_trains_on(num_parts: int) -> None:
    model = network(num_parts)
    loss, _ = SetPrediction(model, PLAIN, CPU)([example(0, ()), example(0, (1,))], generator())
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("num_parts", [0, 2])
def test_a_few_steps_lower_the_loss(num_parts: int) -> None:
    model = network(num_parts)
    objective = SetPrediction(model, PLAIN, CPU)
    optimizer = Optimizer(model, learning_rate=1e-3, clip_norm=1.0)
    losses = []
    for _ in range(10):
        loss, _ = objective(BATCH[num_parts], generator())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
