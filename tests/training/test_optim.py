"""The optimizer against torch.optim.AdamW, its lazy rows, exact resume, several processes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from partdistillation.errors import CheckpointError, PartDistillationError
from partdistillation.models.heads import PartHead
from partdistillation.training.optim import Optimizer, learning_rate_factor

DIM, OBJECT_CLASSES, PARTS = 6, 5, 3


class Network(nn.Module):
    """Modules with the names that decide how a parameter is treated."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Module()
            self.model.pixel_level_module = nn.ModuleDict({"encoder": nn.Linear(DIM, DIM)})
            self.model.norm = nn.LayerNorm(DIM)
            self.model.level_embed = nn.Embedding(2, DIM)
            self.model.linear = nn.Linear(DIM, DIM)
            self.class_predictor = PartHead(DIM, OBJECT_CLASSES, PARTS)

    def forward(self, x: Tensor, object_classes: Tensor) -> Tensor:
        model: Any = self.model
        x = model.pixel_level_module["encoder"](x) + model.level_embed.weight[0]
        result: Tensor = self.class_predictor(model.linear(model.norm(x)), object_classes)
        return result


def train(network: Network, optimizer: Optimizer, classes: list[list[int]]) -> None:
    for step, one in enumerate(classes):
        x = torch.randn(len(one), 4, DIM, generator=torch.Generator().manual_seed(len(one) + sum(one)))
        optimizer.zero_grad()
        torch.autograd.backward(network(x, torch.tensor(one)).square().mean())
        optimizer.step(1 / (step + 1))


def test_groups_follow_mask2former() -> None:
    network = Network()
    optimizer = Optimizer(network, learning_rate=1.0, backbone_multiplier=0.25)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    settings = {
        names[id(parameter)]: (group["multiplier"], group["weight_decay"])
        for group in optimizer._adamw.param_groups
        for parameter in group["params"]
    }
    assert settings == {
        "model.pixel_level_module.encoder.weight": (0.25, 0.05),
        "model.pixel_level_module.encoder.bias": (0.25, 0.05),
        "model.norm.weight": (1.0, 0.0),
        "model.norm.bias": (1.0, 0.0),
        "model.level_embed.weight": (1.0, 0.0),
        "model.linear.weight": (1.0, 0.05),
        "model.linear.bias": (1.0, 0.05),
        "class_predictor.no_object": (1.0, 0.05),
    }


def test_what_is_frozen_stays() -> None:
    network = Network()
    frozen = network.get_submodule("model.linear").requires_grad_(False)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    train(network, Optimizer(network, learning_rate=0.1), [[0, 1]])
    torch.testing.assert_close(dict(frozen.state_dict()), before, rtol=0, atol=0)


def test_part_rows_alone_can_learn() -> None:
    network = Network()
    network.model.requires_grad_(False)
    network.class_predictor.no_object.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = Optimizer(network, learning_rate=0.1, exact_rows=True)
    train(network, optimizer, [[0], [2, 0]])
    optimizer.load_state_tensors(optimizer.state_tensors())
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["class_predictor.rows"]


def test_rows_touched_at_every_step_are_updated_as_by_dense_adamw() -> None:
    ours, theirs = Network(), Network()
    optimizer = Optimizer(ours, learning_rate=0.01, backbone_multiplier=1.0, clip_norm=0.1)
    exempt = [p for name, p in theirs.named_parameters() if "norm" in name or "level_embed" in name]
    others = [p for p in theirs.parameters() if all(p is not one for one in exempt)]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": exempt, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05)
    every = list(range(OBJECT_CLASSES))
    for seed in range(4):
        x = torch.randn(OBJECT_CLASSES, 4, DIM, generator=torch.Generator().manual_seed(seed))
        for network in (ours, theirs):
            network.zero_grad()
            torch.autograd.backward(network(x, torch.tensor(every)).square().mean())
        rows = theirs.class_predictor.rows
        assert rows.grad is not None
        rows.grad = rows.grad.to_dense()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        adamw.step()
        torch.testing.assert_close(optimizer.step(), norm)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, msg=name, rtol=1e-5, atol=1e-7)


def test_a_row_lives_by_the_steps_that_touch_it() -> None:
    """Other rows' steps don't move it, nor count for it; a row that is never read keeps its value."""
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01, clip_norm=1e9)
    rows = network.class_predictor.rows
    start = rows.detach().clone()
    alone = nn.Parameter(start[2].clone())
    adamw = torch.optim.AdamW([alone], lr=0.01, weight_decay=0.05)
    for one in ([2, 0], [0, 1], [2, 2], [0, 0], [2, 1]):
        x = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(sum(one)))
        optimizer.zero_grad()
        torch.autograd.backward(network(x, torch.tensor(one)).square().mean())
        assert rows.grad is not None
        if 2 in one:
            alone.grad = rows.grad.to_dense()[2]
            adamw.step()
        optimizer.step()
        torch.testing.assert_close(rows[2].detach(), alone.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(rows[3:].detach(), start[3:], rtol=0, atol=0)


def test_resume_is_exact() -> None:
    classes = [[0, 1], [1, 2], [3], [0, 4], [2, 2]]
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01)
    train(network, optimizer, classes[:2])
    saved = {name: value.clone() for name, value in optimizer.state_tensors().items()}
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    train(network, optimizer, classes[2:])
    resumed = Network()
    resumed.load_state_dict(weights)
    again = Optimizer(resumed, learning_rate=0.01)
    again.load_state_tensors(saved)
    train(resumed, again, classes[2:])
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for name, value in optimizer.state_tensors().items():
        assert torch.equal(value, again.state_tensors()[name]), name


def test_state_of_another_network_is_refused() -> None:
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01)
    train(network, optimizer, [[0]])
    state = optimizer.state_tensors()
    key = "class_predictor.rows:exp_avg"
    with pytest.raises(CheckpointError, match=r"missing .*class_predictor.rows:exp_avg"):
        optimizer.load_state_tensors({name: value for name, value in state.items() if name != key})
    with pytest.raises(CheckpointError, match=r"class_predictor.rows:exp_avg has shape \(1, 2\)"):
        optimizer.load_state_tensors(state | {key: torch.zeros(1, 2)})


def test_the_state_before_the_first_step() -> None:
    optimizer = Optimizer(network := Network(), learning_rate=0.01)
    fresh = {name: value.clone() for name, value in optimizer.state_tensors().items()}
    train(network, optimizer, [[0]])
    assert optimizer.state_tensors().keys() > fresh.keys()
    optimizer.load_state_tensors(fresh)
    torch.testing.assert_close(optimizer.state_tensors(), fresh)


def test_divergence_is_reported_before_anything_moves() -> None:
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.autograd.backward(network(torch.full((1, 4, DIM), math.inf), torch.tensor([0])).mean())
    with pytest.raises(PartDistillationError, match="diverged"):
        optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_schedules() -> None:
    def factors(schedule: str, warmup: int = 0) -> list[float]:
        return [
            learning_rate_factor(schedule, step, steps=20, warmup_steps=warmup)  # type: ignore[arg-type]
            for step in range(20)
        ]

    assert factors("constant") == [1.0] * 20
    assert factors("constant", warmup=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors("step") == pytest.approx([1.0] * 18 + [0.1, 0.01])
    cosine = factors("cosine")
    assert cosine[0] == 1.0
    assert cosine[10] == pytest.approx(0.5)
    assert cosine == sorted(cosine, reverse=True)


def _process(rank: int, folder: str) -> None:
    """One of two processes: its half of the batch; compares with the whole batch in one process."""
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01)
    x = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(0))
    mine = slice(rank, rank + 1)
    torch.autograd.backward(network(x[mine], torch.tensor([2, 3])[mine]).square().mean())
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and name != "class_predictor.rows":
            distributed.all_reduce(parameter.grad)
            parameter.grad /= 2
    optimizer.step()
    torch.save(network.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.long
def test_rows_are_averaged_over_processes(tmp_path: Path) -> None:
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)  # type: ignore[attr-defined,no-untyped-call]
    network = Network()
    optimizer = Optimizer(network, learning_rate=0.01)
    x = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(0))
    torch.autograd.backward(network(x, torch.tensor([2, 3])).square().mean())
    optimizer.step()
    for rank in range(2):
        for name, value in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(value, network.state_dict()[name], msg=name)
