"""Every stage tried on a few photographs and steps, on this machine: what a unit of each takes.

The stages' own functions are timed, so that what would stop a run after hours (a model that can't be loaded,
say) stops here. What is left out: what other programs will want of the machine.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from partdistillation.config import Inputs, Recipe
from partdistillation.data.examples import Example, LabelledImage, LabelledImages
from partdistillation.data.images import ImageInput
from partdistillation.experiments.rates import OF_AN_OBJECT, Labelling, Rates, Training
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.stability import cluster_stability
from partdistillation.models.devices import choose_device
from partdistillation.runs.atomic import append_line, make_folder, replace_file
from partdistillation.runs.profiling import Costs, profiled
from partdistillation.runs.records import ObjectRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.run_folder import FEATURES, OBJECTS, PARTS, SEGMENTS
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import encode_shard
from partdistillation.runs.workers import one_thread
from partdistillation.stages import candidates, objects, proposals, ranking, segments
from partdistillation.training.checkpoints import Run
from partdistillation.training.loop import train
from partdistillation.training.objective import SetPrediction
from partdistillation.training.trackers import watched_by

_TRIED, _STEPS, _LARGEST_BATCH = 6, 4, 8
_CLUSTERED = 1_000
"""Points on which clustering is timed."""
_COMMITS, _COMMITTED_BYTES = 10, 100_000
_NAME = "a few steps"

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """What was tried, and what came of it."""

    images: int
    """Photographs that there are."""
    rates: Rates
    rows: Sequence[ObjectRow]
    """Of the photographs that have an object, of those that were tried."""
    segmented: Sequence[SegmentRow]
    remark: str = ""
    """Why later stages couldn't be tried."""


def probe(inputs: Inputs, recipe: Recipe) -> Probe:
    """Try every stage; those after one that can't be tried have no rates.

    Raises:
        ConfigError, InputError, CheckpointError: what a run would raise, later.
    """
    plan = objects.plan_of(inputs, recipe)
    source = plan.make()
    rows, seconds, _ = _timed(lambda image: source([image])[0], _spread(plan.images))
    labelling = {OBJECTS: Labelling(seconds, bytes=_bytes(rows, ObjectRow))}
    usable = [row for row in rows if row.status == "ok"]
    count = sum(len(row.objects) for row in usable) / max(1, len(usable))
    rates = Rates(
        _here(inputs, len(rows)), count, 0.0, len({image.category for image in plan.images}), labelling
    )
    if not usable:
        remark = f"None of {len(rows)} photographs that were tried has an object: {rows[0].reason}."
        return Probe(len(plan.images), rates, (), (), remark)
    ways, grouping = list[list[SegmentRow]](), Labelling(0.0)
    for settings in segments.ways(recipe).values():
        segment = segments.make_segmenter(inputs.need("images"), settings, inputs.device)
        grouped, seconds, costs = _timed(segment, usable)
        ways.append(grouped)
        grouping += replace(_by_object(seconds, costs, count), bytes=_bytes(grouped, SegmentRow))
    segmented, labelling[SEGMENTS] = ways[0], grouping
    images = proposals.labelled(usable, zip(*ways, strict=True), recipe.proposals)
    if not images:
        remark = "No segment of the photographs that were tried is large enough to be learned."
        return Probe(len(plan.images), rates, usable, segmented, remark)
    rates = replace(rates, classes=len({found.category for row in usable for found in row.objects}))
    return Probe(
        len(plan.images), _trained(inputs, recipe, rates, images, usable, segmented), usable, segmented
    )


def _here(inputs: Inputs, count: int) -> str:
    device = choose_device(inputs.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one process on a CPU"
    return f"{count} photographs tried here, by {name}"


def _trained(
    inputs: Inputs,
    recipe: Recipe,
    rates: Rates,
    images: Sequence[LabelledImage],
    usable: Sequence[ObjectRow],
    segmented: Sequence[SegmentRow],
) -> Rates:
    """With the stages that train, and the ranking between them with what was just trained."""
    with tempfile.TemporaryDirectory() as folder:
        step = _step(inputs, recipe, images, Path(folder))
        proposed, seconds = _proposed(inputs, recipe, Path(folder, "model"), usable, segmented)
    kept = sum(len(part.segments) for row in segmented for part in row.objects)
    each = kept / max(1, sum(len(row.objects) for row in segmented))
    features = [proposal.feature for row in proposed for found in row.objects for proposal in found.proposals]
    dim = len(features[0]) if features else recipe.pretrain.hidden_dim
    points = np.random.default_rng(0).normal(size=(_CLUSTERED, dim)).astype(np.float32)
    start = time.monotonic()
    centroids = _clustered(points, recipe)
    clustering = (time.monotonic() - start) / _CLUSTERED
    names = {found.category for row in usable for found in row.objects}
    label = partial(ranking.part_row, centroids=dict.fromkeys(names, centroids), config=recipe.ranking)
    _, labelled, _ = _timed(label, proposed)
    row_bytes = rates.labelling[SEGMENTS].bytes
    commit = _commit(make_folder(inputs.out))
    return replace(
        rates,
        proposals=each,
        labelling={
            **rates.labelling,
            # The rows of a network that has hardly learned say little of what they will be.
            FEATURES: Labelling(seconds, bytes=row_bytes + 2 * dim * each * rates.objects),
            PARTS[0]: Labelling(labelled, bytes=row_bytes),
        },
        training={"proposals": step, "distillation": _resized(step, recipe)},
        clustering=clustering,
        commit=commit,
        assumptions=("as many proposals of an object as segments",),
    )


def _proposed(
    inputs: Inputs,
    recipe: Recipe,
    model: Path,
    usable: Sequence[ObjectRow],
    segmented: Sequence[SegmentRow],
) -> tuple[list[ProposalRow], float]:
    """What may become parts, and the seconds of a photograph."""
    images_dir = inputs.need("images")
    if recipe.ranking.candidates == "segments":
        of_segments = candidates.make_segment_proposer(images_dir, recipe, inputs.device)
        pairs = [*zip(usable, segmented, strict=True)]
        rows, seconds, _ = _timed(lambda pair: of_segments(*pair), pairs)
    else:
        propose = candidates.make_proposer(images_dir, model, recipe, inputs.device)
        rows, seconds, _ = _timed(propose, usable)
    return rows, seconds


def _commit(out: Path) -> float:
    """Seconds until a shard is safely on the run's disk, and the journal says so."""
    data = bytes(_COMMITTED_BYTES)
    with tempfile.TemporaryDirectory(dir=out, prefix=".commit") as folder:
        start = time.monotonic()
        for number in range(_COMMITS):
            replace_file(Path(folder, f"{number}.parquet"), data)
            append_line(Path(folder, "journal.jsonl"), b"committed")
        return (time.monotonic() - start) / _COMMITS


def _clustered(points: np.ndarray, recipe: Recipe) -> np.ndarray:
    """As an object class is."""
    config = recipe.ranking
    if config.part_count == "stability":
        cluster_stability(points, most=config.num_parts, seed=config.seed)
    return cluster_features(points, k=config.num_parts, restarts=config.restarts, seed=config.seed)


def _resized(step: Training, recipe: Recipe) -> Training:
    """A step of stage 5, whose images may be of another size."""
    sizes = recipe.distillation.image_size, recipe.proposals.image_size
    return replace(step, image=step.image * (sizes[0] / sizes[1]) ** 2)


def _step(inputs: Inputs, recipe: Recipe, images: Sequence[LabelledImage], folder: Path) -> Training:
    """A step of stage 3; its model, hardly trained, is left in `folder`."""
    batch = min(recipe.proposals.batch_size, _LARGEST_BATCH)
    config = replace(recipe.proposals, steps=_STEPS, batch_size=batch, accumulation=1)
    device = choose_device(inputs.device)
    model = proposals.proposal_model(recipe, config).to(device)
    objective, starts = SetPrediction(model, config, device), list[float]()

    def watched(
        examples: Sequence[Example], generator: torch.Generator
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor | float]]:
        starts.append(time.monotonic())
        return objective(examples, generator)

    with watched_by(None), profiled() as profile:  # these steps are no training
        train(
            model,
            LabelledImages(inputs.need("images"), images, config),
            watched,
            config,
            Run(folder, _NAME, folder / "model", {}),
            save=model.save_pretrained,
            device=device,
        )
    spans = [later - earlier for earlier, later in pairwise(starts)]
    update = profile.costs[_NAME, "optimizer"]
    fixed = min(update.wall / update.calls, min(spans))
    size = sum(path.stat().st_size for path in (folder / "model").glob("*"))
    return Training(fixed, (min(spans) - fixed) / batch, float(size))  # the first ones compile


def _by_object(seconds: float, costs: Costs, count: float) -> Labelling:
    """Apart: what is done for a photograph, and for every object of it."""
    whole = sum(cost.wall for place, cost in costs.items() if len(place) == 1)
    share = sum(cost.wall for place, cost in costs.items() if place[-1] in OF_AN_OBJECT) / (whole or 1.0)
    return Labelling(seconds * (1 - share), seconds * share / count)


def _timed(function: Callable[[S], T], items: Sequence[S]) -> tuple[list[T], float, Costs]:
    """What a function makes of items, the seconds of one, and its profile, on one thread as in a worker.

    The first doesn't count, as it compiles.
    """
    results, spans = list[T](), list[float]()
    with one_thread(), profiled() as profile:
        for item in items:
            start = time.monotonic()
            results.append(function(item))
            spans.append(time.monotonic() - start)
            if len(items) > 1 == len(spans):
                profile.take()
    kept = spans[1:] or spans
    return results, sum(kept) / len(kept), profile.costs


def _bytes(rows: Sequence[Row], kind: type[Row]) -> float:
    """Of a row in a file of many: by how much a file of all is larger than one of the first."""
    several, first = (
        len(encode_shard(Shard("rows", tuple(ImageRef(row.image_id) for row in some)), some, kind))
        for some in (rows, rows[:1])
    )
    return float(several - first) / (len(rows) - 1) if len(rows) > 1 else float(several)


def _spread(images: Sequence[ImageInput]) -> list[ImageInput]:
    """Some of them, from the first to the last."""
    count = min(_TRIED, len(images))
    return [images[place * len(images) // count] for place in range(count)]
