"""How long a run will take, from a few of its photographs and steps; and a first look at what it will do."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from partdistillation import pipeline
from partdistillation.config import CONFIG_FILE, Inputs, ObjectFiles, Recipe
from partdistillation.data.images import load_image_of
from partdistillation.experiments.plan import in_words
from partdistillation.experiments.probe import Probe, probe
from partdistillation.models.devices import choose_device
from partdistillation.objects.saliency_weights import DEFAULT as DEFAULT_NETWORK
from partdistillation.pictures.sizes import contact_sheet
from partdistillation.recipes import DEFAULT, OTHER_RECIPES
from partdistillation.report.label_maps import segment_map
from partdistillation.report.objects_found import GAP, label_cell, object_cell
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.notes import write_note
from partdistillation.runs.records import ObjectRow, SegmentRow
from partdistillation.runs.run_folder import FEATURES, FIRST_LOOK, OBJECTS, PARTS, SEGMENTS
from partdistillation.runs.shards import shards_of
from partdistillation.runs.stage_log import EXPECTED, is_first_process
from partdistillation.runs.terminal import say

_UNIT = "photographs"
_COLUMNS = 4


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


def estimate(inputs: Inputs, recipe: Recipe) -> Estimate:
    """Try every stage on a few photographs and steps, and draw what came of it as `out/first_look.png`.

    The estimate is left in the run's folder, for the time that stages say is left.

    Raises:
        ConfigError, InputError, CheckpointError: what a run would raise, later.
    """
    tried = probe(inputs, recipe)
    expected = Estimate(tuple(_costs(tried, inputs, recipe)), tried.remark)
    if tried.segmented:
        _draw(inputs, tried.rows, tried.segmented)
    write_note(inputs.out / EXPECTED, expected.by_stage())
    return expected


def _costs(tried: Probe, inputs: Inputs, recipe: Recipe) -> Iterator[Cost]:
    """Of the stages that could be tried."""
    rates, images, sharing = tried.rates, tried.images, min(inputs.workers, os.cpu_count() or 1)
    commit = rates.commit * shards_of(images) / images
    each = {name: rate.of(rates.objects) / sharing + commit for name, rate in rates.labelling.items()}
    yield Cost("objects", images, _UNIT, each[OBJECTS])
    if SEGMENTS in each:
        yield Cost("segments", images, _UNIT, each[SEGMENTS])
    if rates.clustering is None:
        return
    steps = {name: rate.of(getattr(recipe, name).batch_size) for name, rate in rates.training.items()}
    yield Cost("proposals", recipe.proposals.limited(images).steps, "steps", steps["proposals"])
    clustering = rates.clustering * rates.objects * rates.proposals
    yield Cost("ranking", images, _UNIT, each[FEATURES] + clustering + each[PARTS[0]])
    yield Cost("distillation", recipe.distillation.limited(images).steps, "steps", steps["distillation"])


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
