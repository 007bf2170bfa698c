"""What a large run will take: hours, storage and money by stage, on so many GPUs, and what dominates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from partdistillation.config import Recipe, TrainingConfig
from partdistillation.experiments.rates import Labelling, Rates
from partdistillation.runs.run_folder import FEATURES, OBJECTS, PARTS, SEGMENTS
from partdistillation.runs.shards import shards_of

_HOUR, _DECIMALS = 3600.0, ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Size:
    """What is planned."""

    images: int
    gpus: int
    price: float | None = None
    """Of a GPU, with its share of the machine, an hour."""


@dataclass(frozen=True)
class Cost:
    """What a step of a run will take."""

    stage: str
    work: str
    """In words."""
    each: str
    """What a unit of it takes of one GPU."""
    seconds: float
    alone: float
    """Seconds that one GPU would take."""
    gpus: int
    """That have something to do."""
    bytes: float


@dataclass(frozen=True)
class Plan:
    """What all steps will take that there are rates of."""

    size: Size
    costs: tuple[Cost, ...]
    unknown: tuple[str, ...]
    """Steps without."""
    assumptions: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """From the first photograph to the part model."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def least(self) -> float:
        """Seconds with any number of GPUs: of what they can't divide any further."""
        return sum(cost.seconds for cost in self.costs if cost.gpus < self.size.gpus)

    def price(self, seconds: float) -> float | None:
        """Of all GPUs for so long, whether or not they have something to do."""
        price = self.size.price
        return None if price is None else seconds / _HOUR * self.size.gpus * price

    def to_dict(self) -> dict[str, Any]:
        """For other programs."""
        return {
            "images": self.size.images,
            "gpus": self.size.gpus,
            "hours": self.seconds / _HOUR,
            "price": self.price(self.seconds),
            "bytes": sum(cost.bytes for cost in self.costs),
            "stages": [
                {
                    "stage": cost.stage,
                    "hours": cost.seconds / _HOUR,
                    "gpus": cost.gpus,
                    "gpu_hours": cost.alone / _HOUR,
                    "price": self.price(cost.seconds),
                    "bytes": cost.bytes,
                }
                for cost in self.costs
            ],
            "unknown": list(self.unknown),
            "assumptions": list(self.assumptions),
        }


def plan(rates: Rates, recipe: Recipe, size: Size, objects: float | None = None) -> Plan:
    """What a run will take.

    Args:
        rates: what a unit takes of one worker, which has one GPU.
        recipe: decides the trainings' steps and batches.
        size: how much.
        objects: objects of a photograph; by default those where the rates were measured.
    """
    if objects is not None:
        rates = replace(rates, objects=objects)
    costs, unknown = list[Cost](), list[str]()
    for name, cost in _steps(rates, recipe, size):
        costs.append(cost) if cost else unknown.append(name)
    return Plan(size, tuple(costs), tuple(unknown), tuple(_assumptions(rates, size)))


def _steps(rates: Rates, recipe: Recipe, size: Size) -> Iterator[tuple[str, Cost | None]]:
    """In the order in which they are done."""
    yield "objects", _labelling("objects", rates, OBJECTS, size)
    yield "segments", _labelling("segments", rates, SEGMENTS, size)
    yield "proposals", _training("proposals", rates, recipe.proposals, size)
    yield "ranking: features", _labelling("ranking: features", rates, FEATURES, size)
    yield "ranking: clustering", _clustering(rates, size)
    yield "ranking: parts", _labelling("ranking: parts", rates, PARTS[0], size)
    yield "distillation", _training("distillation", rates, recipe.distillation, size)


def _labelling(stage: str, rates: Rates, name: str, size: Size) -> Cost | None:
    """Photographs, which any number of GPUs share."""
    rate: Labelling | None = rates.labelling.get(name)
    if rate is None:
        return None
    each, gpus = rate.of(rates.objects), min(size.gpus, size.images)
    alone = each * size.images + rates.commit * shards_of(size.images)
    work, amount = f"{size.images:,} photographs", _amount(each)
    return Cost(stage, work, amount, alone / gpus, alone, gpus, rate.bytes * size.images)


def _training(stage: str, rates: Rates, config: TrainingConfig, size: Size) -> Cost | None:
    """Steps, one after the other; as many GPUs share a step's images as divide the batch evenly."""
    rate, batch = rates.training.get(stage), config.batch_size
    if rate is None:
        return None
    steps = config.limited(size.images).steps
    gpus = max(count for count in range(1, min(size.gpus, batch) + 1) if batch % count == 0)
    work = f"{steps:,} steps of {batch}"
    seconds = steps * rate.of(batch / gpus)
    return Cost(stage, work, _amount(rate.of(batch)), seconds, steps * rate.of(batch), gpus, rate.bytes)


def _clustering(rates: Rates, size: Size) -> Cost | None:
    """Proposals, an object class at a time."""
    if rates.clustering is None:
        return None
    proposals = round(size.images * rates.objects * rates.proposals)
    gpus, alone = max(1, min(size.gpus, rates.classes)), rates.clustering * proposals
    work = f"{proposals:,} proposals"
    return Cost("ranking: clustering", work, _amount(rates.clustering), alone / gpus, alone, gpus, 0.0)


def _assumptions(rates: Rates, size: Size) -> Iterator[str]:
    yield f"rates: {rates.source}; {size.gpus} like it, one for every GPU"
    yield (
        f"{rates.objects:.3g} objects a photograph, {rates.proposals:.3g} proposals an object, "
        f"{rates.classes:,} object classes"
    )
    yield from rates.assumptions
    yield "photographs are divided evenly, and reading and writing them is no narrower for many than for one"
    yield "nothing else takes time: averaging gradients, starting workers, loading models, the report"
    yield "storage is that of the run's files, without the photographs and without trainings' checkpoints"
    if size.price is not None:
        yield "all GPUs are paid from beginning to end, also while few have something to do"


def _amount(seconds: float) -> str:
    """Of a unit, on one GPU."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


# ---------------------------------------------------------------------- in words


def lines(plan: Plan) -> Iterator[str]:
    """A table for people, what dominates, and what was assumed."""
    priced, gpus = plan.size.price is not None, f"on {plan.size.gpus:,}"
    price = f"{'price':>12}" if priced else ""
    yield f"{'':<46}{'each':>10}{gpus:>10}{'share':>7}{'GPU hours':>11}{price}{'storage':>10}"
    for cost in plan.costs:
        share = cost.seconds / plan.seconds if plan.seconds else 0.0
        yield (
            f"{cost.stage:<20}{cost.work:>26}{cost.each:>10}{_time(cost.seconds):>10}{share:>7.0%}"
            f"{cost.alone / _HOUR:>11,.1f}{_price(plan.price(cost.seconds))}{in_bytes(cost.bytes):>10}"
        )
    alone = sum(cost.alone for cost in plan.costs) / _HOUR
    yield (
        f"{'in all':<20}{'':>36}{_time(plan.seconds):>10}{'':>7}{alone:>11,.1f}"
        f"{_price(plan.price(plan.seconds))}{in_bytes(sum(cost.bytes for cost in plan.costs)):>10}"
    )
    yield ""
    if plan.costs:
        yield from _dominates(plan)
    if plan.unknown:
        yield f"Not counted, as there is no rate of it: {', '.join(plan.unknown)}."
    yield "Assumed:"
    yield from (f"- {assumption}" for assumption in plan.assumptions)


def in_words(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h, 4 days."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{timedelta(seconds=seconds).days} days"


def _time(seconds: float) -> str:
    return in_words(seconds) if seconds < _HOUR else f"{seconds / _HOUR:,.1f} h"


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:>12,.2f}"


def in_bytes(count: float) -> str:
    """A size as people say it: 12 MB, 3.4 TB."""
    for unit in _DECIMALS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_DECIMALS[-1]}"


def _dominates(plan: Plan) -> Iterator[str]:
    first = max(plan.costs, key=lambda cost: cost.seconds)
    largest = max(plan.costs, key=lambda cost: cost.bytes)
    yield f"What dominates: time, {first.stage}; storage, {largest.stage}."
    limited = [cost for cost in plan.costs if cost.gpus < plan.size.gpus]
    if limited:
        names = ", ".join(f"{cost.stage} ({cost.gpus:,})" for cost in limited)
        yield f"More GPUs don't shorten {_time(plan.least)} of it, where fewer can be used: {names}."
