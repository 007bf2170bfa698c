"""How long a run will take, from a few of its photographs and steps; and a first look at what it will do.

The stages' own functions are timed, on this machine, so that what would stop a run after hours (a model that
can't be loaded, say) stops here. What is left out: writing files, and what other programs will want of the
machine.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar, get_args

import torch

from partdistillation import pipeline
from partdistillation.config import CONFIG_FILE, Inputs, ObjectFiles, Recipe, TrainingConfig
from partdistillation.data.examples import Example, LabelledImage, LabelledImages
from partdistillation.data.images import ImageInput, load_image_of
from partdistillation.models.devices import choose_device
from partdistillation.objects.saliency_weights import DEFAULT as DEFAULT_NETWORK
from partdistillation.pictures.sizes import contact_sheet
from partdistillation.recipes import DEFAULT, OTHER_RECIPES
from partdistillation.report.label_maps import segment_map
from partdistillation.report.objects_found import GAP, label_cell, object_cell
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.notes import write_note
from partdistillation.runs.records import ObjectRow, SegmentRow
from partdistillation.runs.run_folder import FIRST_LOOK
from partdistillation.runs.stage_log import EXPECTED, is_first_process
from partdistillation.runs.terminal import say
from partdistillation.stages import candidates, objects, proposals, segments
from partdistillation.training.checkpoints import Run
from partdistillation.training.loop import train
from partdistillation.training.objective import SetPrediction
from partdistillation.training.trackers import watched_by

_UNIT = "photographs"
_TRIED, _STEPS, _LARGEST_BATCH = 6, 4, 8
_COLUMNS = 4

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What a stage is expected to take."""

    stage: str
    count: int
    unit: str
    each: float
    """Seconds a unit."""

    @property
    def seconds(self) -> float:
        """In all."""
        return self.count * self.each


@dataclass(frozen=True)
class Estimate:
    """What every stage is expected to take; those after a stage that can't be tried are missing."""

    costs: tuple[Cost, ...]
    remark: str = ""
    """Why some are missing."""

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def labelling(self) -> float:
        """Of those stages that go through the photographs, which workers share."""
        return sum(cost.seconds for cost in self.costs if cost.unit == _UNIT)

    def by_stage(self) -> dict[str, float]:
        """Seconds by the stages' names."""
        return {cost.stage: round(cost.seconds, 3) for cost in self.costs}

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{'stage':<14}{'what is done':>22}{'seconds each':>14}{'about':>10}"
        for cost in self.costs:
            amount = f"{cost.count:,} {cost.unit}"
            yield f"{cost.stage:<14}{amount:>22}{cost.each:>14.2f}{in_words(cost.seconds):>10}"
        yield f"{'in all':<14}{'':>36}{in_words(self.seconds):>10}"
        if self.remark:
            yield self.remark


def announce(inputs: Inputs, recipe: Recipe, *, named: bool, stop: bool) -> bool:
    """Say, before a run begins, what it will be done with and how long it will take; whether to stop there.

    Args:
        inputs: the run's.
        recipe: the run's.
        named: whether its settings were asked for; else it is said which others there are.
        stop: print the estimate of each stage, and return True.

    Raises:
        ConfigError, InputError, CheckpointError: what a run would raise, later.
    """
    begun = (inputs.out / CONFIG_FILE).exists()
    if not is_first_process() or (begun and not stop):
        return False
    recipe = pipeline.with_source(inputs, recipe)
    if not named and not begun:
        say(f"Recipe {DEFAULT}. Others: {'; '.join(OTHER_RECIPES)}.")
    say(f"Encoder: {' + '.join(recipe.segments.encoders) or recipe.encoder}. Objects: {_finder(recipe)}.")
    pipeline.check(inputs, recipe)
    say("Trying each stage on a few photographs ...")
    expected = estimate(inputs, recipe)
    if stop:
        say("\n".join(expected.lines()))
    else:
        say(f"About {in_words(expected.seconds)} on this machine. {expected.remark}".rstrip())
    cores = os.cpu_count() or 1
    if inputs.workers == 1 < cores and choose_device(inputs.device).type == "cpu":
        shared = expected.seconds - expected.labelling * (1 - 1 / cores)
        say(f"With --workers {cores}, which label photographs on all cores: about {in_words(shared)}.")
    if (inputs.out / FIRST_LOOK).exists():
        say(f"First look: {inputs.out / FIRST_LOOK}")
    return stop


def _finder(recipe: Recipe) -> str:
    """Where the objects come from, in words."""
    source, model = recipe.objects.source, recipe.objects.model
    if source == "salient":
        return f"what stands out ({model or DEFAULT_NETWORK}), of the class that its folder names"
    return "--objects" if source in get_args(ObjectFiles) else f"{source} ({model or recipe.encoder})"


def in_words(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h, 4 days."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{timedelta(seconds=seconds).days} days"


def estimate(inputs: Inputs, recipe: Recipe) -> Estimate:
    """Try every stage on a few photographs and steps, and draw what came of it as `out/first_look.png`.

    The estimate is left in the run's folder, for the time that stages say is left.

    Raises:
        ConfigError, InputError, CheckpointError: what a run would raise, later.
    """
    costs: list[Cost] = []
    plan = objects.plan_of(inputs, recipe)
    count, sharing = len(plan.images), min(inputs.workers, os.cpu_count() or 1)
    source = plan.make()
    rows, each = _timed(lambda image: source([image])[0], _spread(plan.images))
    costs.append(Cost("objects", count, _UNIT, each / sharing))
    usable = [row for row in rows if row.status == "ok"]
    remark = f"None of {len(rows)} photographs that were tried has an object: {rows[0].reason}."
    if usable:
        remark = ""
        segment = segments.make_segmenter(inputs.need("images"), recipe, inputs.device)
        segmented, each = _timed(segment, usable)
        costs.append(Cost("segments", count, _UNIT, each / sharing))
        _draw(inputs, usable, segmented)
        images = proposals.labelled(usable, segmented, recipe.proposals)
        if images:
            costs += _trainings(inputs, recipe, images, usable, count, sharing)
        else:
            remark = "No segment of the photographs that were tried is large enough to be learned."
    found = Estimate(tuple(costs), remark)
    write_note(inputs.out / EXPECTED, found.by_stage())
    return found


def _trainings(
    inputs: Inputs,
    recipe: Recipe,
    images: Sequence[LabelledImage],
    usable: Sequence[ObjectRow],
    count: int,
    sharing: int,
) -> Iterator[Cost]:
    """The stages that train, and the ranking between them with what was just trained."""
    config = recipe.proposals
    with tempfile.TemporaryDirectory() as folder:
        each = _step(inputs, recipe, images, Path(folder))
        yield Cost("proposals", config.limited(count).steps, "steps", each)
        propose = candidates.make_proposer(
            inputs.need("images"), Path(folder, "model"), recipe, inputs.device
        )
        _, photograph = _timed(propose, usable)
    yield Cost("ranking", count, _UNIT, photograph / sharing)
    final = recipe.distillation
    yield Cost("distillation", final.limited(count).steps, "steps", each * _size(final) / _size(config))


def _size(config: TrainingConfig) -> int:
    """What a step's time is about in proportion to."""
    return config.batch_size * config.image_size**2


def _step(inputs: Inputs, recipe: Recipe, images: Sequence[LabelledImage], folder: Path) -> float:
    """Seconds of a step of stage 3; its model, hardly trained, is left in `folder`."""
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

    with watched_by(None):  # these steps are no training
        train(
            model,
            LabelledImages(inputs.need("images"), images, config),
            watched,
            config,
            Run(folder, "a few steps", folder / "model", {}),
            save=model.save_pretrained,
            device=device,
        )
    spans = [later - earlier for earlier, later in pairwise(starts)]
    return min(spans) * recipe.proposals.batch_size / batch  # the first ones compile


def _timed(function: Callable[[S], T], items: Sequence[S]) -> tuple[list[T], float]:
    """What a function makes of items, and the seconds of one: not of the first, which compiles."""
    results, spans = [], []
    for item in items:
        start = time.monotonic()
        results.append(function(item))
        spans.append(time.monotonic() - start)
    kept = spans[1:] or spans
    return results, sum(kept) / len(kept)


def _spread(images: Sequence[ImageInput]) -> list[ImageInput]:
    """Some of them, from the first to the last."""
    count = min(_TRIED, len(images))
    return [images[place * len(images) // count] for place in range(count)]


def _draw(inputs: Inputs, rows: Sequence[ObjectRow], segmented: Sequence[SegmentRow]) -> None:
    """Write the first look: each photograph with its objects, and beside it with their segments."""
    cells = []
    for row, segment_row in zip(rows, segmented, strict=True):
        image = load_image_of(inputs.need("images") / row.file_name, row.height, row.width)
        count = sum(len(instance.segments) for instance in segment_row.objects)
        segments_cell = label_cell(image, segment_map(segment_row), f"{count} segments")
        cells += [object_cell(image, row), segments_cell]
    buffer = io.BytesIO()
    contact_sheet(cells, columns=min(_COLUMNS, len(cells)), gap=GAP, margin=GAP).save(buffer, "PNG")
    replace_file(make_folder(inputs.out) / FIRST_LOOK, buffer.getvalue())
