"""The runs that an experiment is made on: one a seed, on one's own data or on PartShapes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from partdistillation.config import REMEMBERED, Inputs, ObjectFiles, Recipe
from partdistillation.datasets.own_parts import require_labels
from partdistillation.experiments import demo
from partdistillation.recipes import seeded


class Run(NamedTuple):
    """One seed's."""

    seed: int
    inputs: Inputs
    """`out` is the run's own folder; the held-out images are given too."""
    recipe: Recipe


def require_inputs(inputs: Inputs, recipe: Recipe) -> None:
    """Make sure that what a run learns from, and is measured on, can be used.

    True parts to learn from may be left out, and objects where a model finds them.

    Raises:
        ConfigError: images, objects or held-out parts weren't given, or a path doesn't exist.
        InputError: they can't be used (`require_labels`).
    """
    in_files = recipe.objects.source in get_args(ObjectFiles)
    for name in REMEMBERED:
        if name != "parts" and (in_files or name != "objects"):
            inputs.need(name)
    require_labels(inputs)
    require_labels(inputs.held_out)


def part_shapes(
    inputs: Inputs, seeds: Sequence[int], recipe: Recipe, plan: demo.Plan = demo.WHOLE
) -> Iterator[Run]:
    """A run a seed in `out/seed-N`, on drawings of its own: the folders that `partdistill demo` makes too."""
    for seed in seeds:
        folder = inputs.out / f"seed-{seed}"
        demo.draw(plan, folder / "data", seed)
        drawn = demo.inputs_of(folder, folder / "data", device=inputs.device, workers=inputs.workers)
        yield Run(seed, drawn, seeded(recipe, seed))


def own_data(inputs: Inputs, seeds: Sequence[int], recipe: Recipe) -> Iterator[Run]:
    """A run a seed in `out/seed-N`, all on the same images."""
    for seed in seeds:
        yield Run(seed, replace(inputs, out=inputs.out / f"seed-{seed}"), seeded(recipe, seed))
