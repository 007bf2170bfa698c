"""Stage 5's class head: time and memory of a step at 100 and 21,000 object classes, beside a dense head.

    python benchmarks/class_head.py

8 parts an object class and "no object"; hidden size 256, 100 queries, 10 decoder layers, 4 objects a step,
one thread. A step is forward, cross-entropy, backward and optimizer. With `exact_rows` every row has been
trained before and then missed 200 steps, which is more than is replayed: the dearest case. The dense head is
one linear layer with all classes' rows, whose logits are computed and then sliced, as in the authors' code
(there in float64; here in float32, and for one of the ten layers), with PyTorch's fused AdamW. Then the
weights after 200 steps at 100 classes are compared with those that dense AdamW leaves.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from timing import compare, machine, peak_memory
from torch import Tensor, nn

from partdistillation.models.heads import PartHead
from partdistillation.training.optim import Optimizer

PARTS, HIDDEN, QUERIES, LAYERS, OBJECTS = 8, 256, 100, 10, 4
FEW, MANY = 100, 21_000
STEPS = 200
CPU = torch.device("cpu")
Step = Callable[[], None]


def part_head(
    classes: int, *, exact: bool = False, device: torch.device = CPU
) -> tuple[nn.Module, Optimizer]:
    """The head in a module of its own, under the name that the optimizer knows, and its optimizer."""
    torch.manual_seed(0)
    network = nn.Module()
    network.class_predictor = PartHead(HIDDEN, classes, PARTS).to(device)
    return network, Optimizer(network, learning_rate=1e-4, exact_rows=exact)


def our_step(classes: int, *, exact: bool = False, layers: int = LAYERS, device: torch.device = CPU) -> Step:
    network, optimizer = part_head(classes, exact=exact, device=device)
    if exact:
        train_rows(network, optimizer, torch.split(torch.arange(classes), 512))
        train_rows(network, optimizer, [torch.zeros(1, dtype=torch.int64)] * STEPS)
    chance = torch.Generator().manual_seed(1)
    queries, labels = (values.to(device) for values in examples(layers))

    def step() -> None:
        objects = torch.randint(classes, (OBJECTS,), generator=chance).to(device)
        optimizer.zero_grad()
        logits = network.get_submodule("class_predictor")(queries, objects)
        torch.autograd.backward(nn.functional.cross_entropy(logits.flatten(0, -2), labels))
        optimizer.step()

    return step


def train_rows(network: nn.Module, optimizer: Optimizer, steps: Iterable[Tensor]) -> None:
    """One cheap step for each of the sets of object classes."""
    for objects in steps:
        optimizer.zero_grad()
        logits = network.get_submodule("class_predictor")(torch.ones(len(objects), 1, HIDDEN), objects)
        torch.autograd.backward(logits.square().mean())
        optimizer.step()


def dense_step(classes: int) -> Step:
    """One layer of the decoder, all classes' logits."""
    torch.manual_seed(0)
    layer = nn.Linear(HIDDEN, classes * PARTS + 1)
    adamw = torch.optim.AdamW(layer.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    chance = torch.Generator().manual_seed(1)
    queries, labels = examples(1)

    def step() -> None:
        objects = torch.randint(classes, (OBJECTS,), generator=chance)
        adamw.zero_grad()
        logits = sliced(layer(queries[0]), objects)
        torch.autograd.backward(nn.functional.cross_entropy(logits.flatten(0, 1), labels))
        nn.utils.clip_grad_norm_(layer.parameters(), 0.01)
        adamw.step()

    return step


def examples(layers: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(2)
    queries = torch.randn(layers, OBJECTS, QUERIES, HIDDEN, generator=chance)
    return queries, torch.randint(PARTS + 1, (layers * OBJECTS * QUERIES,), generator=chance)


def sliced(logits: Tensor, objects: Tensor) -> Tensor:
    """Each object's own class's logits, and "no object"."""
    columns = objects[:, None] * PARTS + torch.arange(PARTS)
    own = torch.cat([columns, torch.full((len(objects), 1), logits.shape[-1] - 1)], dim=1)
    return logits.gather(-1, own[:, None].expand(-1, logits.shape[1], -1))


# ---------------------------------------------------------------------- memory


def fresh_steps(make: Callable[[int], Step], classes: int) -> Callable[[], object]:
    """What making a head and three steps take."""
    make(FEW)()  # imports and first calls

    def call() -> None:
        step = make(classes)
        for _ in range(3):
            step()

    return call


def touch_all(classes: int) -> Callable[[], object]:
    """What a head takes of which every row has been trained."""
    our_step(FEW)()

    def call() -> None:
        network, optimizer = part_head(classes)
        train_rows(network, optimizer, torch.split(torch.arange(classes), 512))

    return call


# ---------------------------------------------------------------------- equality


class Distance(NamedTuple):
    """Of our rows after training, beside dense AdamW's."""

    apart: float
    """From dense AdamW's rows, over how far those moved."""
    moved: float
    """From the start, over how far dense AdamW's moved."""


def distance(*, exact: bool) -> Distance:
    network, optimizer = part_head(FEW, exact=exact)
    head = network.get_submodule("class_predictor")
    assert isinstance(head, PartHead)
    weight, bias = (value.clone() for value in head.to_linear())
    start = head.rows.detach().clone()
    dense = nn.Linear(HIDDEN, len(weight))
    dense.load_state_dict({"weight": weight, "bias": bias})
    adamw = torch.optim.AdamW(dense.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    chance = torch.Generator().manual_seed(3)
    queries, labels = examples(1)
    for _ in range(STEPS):
        objects = torch.randint(FEW, (OBJECTS,), generator=chance)
        optimizer.zero_grad()
        adamw.zero_grad()
        for logits in (head(queries[0], objects), sliced(dense(queries[0]), objects)):
            torch.autograd.backward(nn.functional.cross_entropy(logits.flatten(0, 1), labels))
        nn.utils.clip_grad_norm_(dense.parameters(), 0.01)
        optimizer.step()
        adamw.step()
    optimizer.finish()
    theirs = PartHead.from_linear(dense.weight.detach(), dense.bias.detach(), PARTS).rows.detach()
    ours, far = head.rows.detach(), (theirs - start).norm()
    return Distance(float((ours - theirs).norm() / far), float((ours - start).norm() / far))


def forward_difference() -> float:
    network, _ = part_head(FEW)
    head = network.get_submodule("class_predictor")
    assert isinstance(head, PartHead)
    queries, _ = examples(1)
    objects = torch.tensor([3, 0, 99, 3])
    with torch.no_grad():
        whole = nn.functional.linear(queries[0], *head.to_linear())
        return float((head(queries[0], objects) - sliced(whole, objects)).abs().max())


def main() -> None:
    torch.set_num_threads(1)
    times = compare(
        {
            f"ours, {FEW}": our_step(FEW),
            f"ours, {MANY:,}": our_step(MANY),
            f"ours, exact, {FEW}": our_step(FEW, exact=True),
            f"ours, exact, {MANY:,}": our_step(MANY, exact=True),
            "ours, one layer": our_step(MANY, layers=1),
        },
        repeats=60,
    ) | compare({"dense, one layer": dense_step(MANY)}, repeats=3)
    few, many = (times[name].cpu for name in (f"ours, {FEW}", f"ours, {MANY:,}"))
    exact_few, exact_many = (times[f"ours, exact, {name}"].cpu for name in (FEW, f"{MANY:,}"))
    single, dense = times["ours, one layer"].cpu, times["dense, one layer"].cpu
    memory = {
        "three steps": peak_memory(partial(fresh_steps, our_step), MANY),
        "every row trained": peak_memory(touch_all, MANY),
        "dense": peak_memory(partial(fresh_steps, dense_step), MANY),
    }
    table = MANY * PARTS * (HIDDEN + 1) * 4 / 2**20
    exact, lazy = distance(exact=True), distance(exact=False)
    print(f"{machine()}, one thread; CPU ms a step, medians\n")
    print(f"| | {FEW} classes | {MANY:,} classes | ratio |\n|---|---|---|---|")
    print(f"| head's step, 10 layers | {1e3 * few:.2f} | {1e3 * many:.2f} | {many / few:.2f} |")
    print(
        f"| the same, `exact_rows` | {1e3 * exact_few:.2f} | {1e3 * exact_many:.2f} "
        f"| {exact_many / exact_few:.2f} |"
    )
    print(f"\n| one layer of ten, {MANY:,} classes | ours | dense | dense / ours |\n|---|---|---|---|")
    print(f"| CPU ms a step | {1e3 * single:.2f} | {1e3 * dense:.0f} | {dense / single:.0f} |")
    started = memory["three steps"]
    print(
        f"| peak MiB, first steps | {started:.0f} | {memory['dense']:.0f} | {memory['dense'] / started:.1f} |"
    )
    whole = memory["every row trained"]
    dense = memory["dense"]
    print(f"| peak MiB, all rows trained | {whole:.0f} | {dense:.0f} | {dense / whole:.1f} |")
    print(f"\nThe weights alone: {table:.0f} MiB. Largest difference of a logit: {forward_difference():.1e}.")
    print(
        f"After {STEPS} steps at {FEW} classes, relative to how far dense AdamW's rows moved: exact rows are "
        f"{exact.apart:.1e} from them; lazy rows are {lazy.apart:.2f} from them, and moved {lazy.moved:.2f}."
    )


if __name__ == "__main__":
    main()
