"""Where a plan's rates come from: a finished run, a file, photographs; or drawings, where none is named."""

import tempfile
from dataclasses import replace
from pathlib import Path

from partdistillation.config import Device, Inputs, Recipe
from partdistillation.errors import ConfigError
from partdistillation.experiments.rates import Rates, rates_of_run, read_rates
from partdistillation.runs.terminal import say

_DRAWN, _SIDE = 6, 512
"""Drawings, and their side in pixels: about that of ImageNet's photographs."""


def rates_from(
    recipe: Recipe,
    *,
    run: Path | None,
    file: Path | None,
    photographs: Path | None,
    objects: Path | None,
    device: Device,
) -> Rates:
    """Rates from one of these; from drawings, if all are None.

    Raises:
        ConfigError: more than one is given; or masks without photographs.
        InputError, CheckpointError: what is given can't be used.
    """
    named = [
        flag for flag, path in (("--run", run), ("--rates", file), ("--photographs", photographs)) if path
    ]
    if len(named) > 1:
        raise ConfigError(f"expected rates from one place, found {' and '.join(named)}")
    if objects is not None and photographs is None:
        raise ConfigError("--objects: expected the folder of its photographs as --photographs, found none")
    if run is not None:
        return rates_of_run(str(run))
    if file is not None:
        return read_rates(file)
    return _measured(recipe, photographs, objects, device)


def _measured(recipe: Recipe, photographs: Path | None, objects: Path | None, device: Device) -> Rates:
    """Here, on a few photographs or drawings."""
    from partdistillation import pipeline  # PyTorch takes seconds
    from partdistillation.experiments.probe import probe
    from partdistillation.part_shapes import write_coco

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if photographs is None:
            say("Measuring on drawings, as --photographs, --run and --rates are missing ...", stderr=True)
            write_coco(folder, "plan", seed=0, count=_DRAWN, size=_SIDE)
            photographs, objects = folder / "plan", folder / "objects_plan.json"
        else:
            say("Trying each stage on a few photographs ...", stderr=True)
        inputs = Inputs(out=folder / "out", images=photographs, objects=objects, device=device)
        recipe = pipeline.with_source(inputs, recipe)
        pipeline.check(inputs, recipe)
        tried = probe(inputs, recipe)
    remarks = [tried.remark] if tried.remark else []
    if recipe.objects.source == "annotations":
        remarks.append("objects are read from a file of masks; a model that finds them takes longer")
    return replace(tried.rates, assumptions=(*tried.rates.assumptions, *remarks))
