"""What `partdistill plan` says of a run, beside what the run then takes, by stage. Nothing else should run.

    python benchmarks/plan.py                                  # drawings, settings of the demonstration
    python benchmarks/plan.py --photographs DIR --recipe small # photographs, an object found in each

Two plans for `--count` photographs on one worker: from a few of them, tried (as `run --estimate` does), and
from a run on half of them. Then the run. The trainings are cut to `--steps`.
"""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from timing import machine

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.experiments.plan import Size, plan
from partdistillation.experiments.probe import probe
from partdistillation.experiments.rates import Rates, rates_of_run
from partdistillation.part_shapes import write_coco
from partdistillation.recipes import recipe as recipe_named

_SIDE = 128


def inputs_of(photographs: Path | None, folder: Path, count: int) -> Inputs:
    """So many drawings, or photographs: the first of each class's folder."""
    if photographs is None:
        write_coco(folder, "train", seed=0, count=count, size=_SIDE)
        return Inputs(
            out=folder / "run", images=folder / "train", objects=folder / "objects_train.json", device="cpu"
        )
    classes = sorted(path for path in photographs.iterdir() if path.is_dir())
    for name in classes:
        (folder / "photographs" / name.name).mkdir(parents=True)
        files = sorted(path for path in name.iterdir() if path.is_file())
        for path in files[: -(-count // len(classes))]:
            shutil.copyfile(path, folder / "photographs" / name.name / path.name)
    return Inputs(out=folder / "run", images=folder / "photographs", device="cpu")


def planned(rates: Rates, recipe: Recipe, count: int) -> dict[str, float]:
    """Seconds by step, on one worker."""
    return {cost.stage: cost.seconds for cost in plan(rates, recipe, Size(count, 1)).costs}


def run(inputs: Inputs, recipe: Recipe) -> Rates:
    """Do it; what it took."""
    pipeline.run(inputs, recipe)
    return rates_of_run(str(inputs.out))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, help="folder of class folders; without it drawings")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--steps", type=int, default=60, help="of each training")
    arguments = parser.parse_args()
    recipe = recipe_named(arguments.recipe)
    recipe = replace(
        recipe,
        proposals=replace(recipe.proposals, steps=arguments.steps),
        distillation=replace(recipe.distillation, steps=arguments.steps),
    )
    with tempfile.TemporaryDirectory() as scratch:
        half = inputs_of(arguments.photographs, Path(scratch, "half"), arguments.count // 2)
        whole = inputs_of(arguments.photographs, Path(scratch, "whole"), arguments.count)
        recipe = pipeline.with_source(whole, recipe)
        tried = probe(whole, recipe)
        sides = {
            "tried": planned(tried.rates, recipe, tried.images),
            "half": planned(run(half, recipe), recipe, tried.images),
            "true": planned(run(whole, recipe), recipe, tried.images),
        }
    print(f"{machine()}; {tried.images} photographs, recipe {arguments.recipe}, {arguments.steps} steps")
    print(f"{'seconds':<20}{'a few tried':>20}{'half of them run':>20}{'true':>10}")
    for step in sides["true"]:
        print(row(step, {side: seconds[step] for side, seconds in sides.items()}))
    print(row("in all", {side: sum(seconds.values()) for side, seconds in sides.items()}))


def row(name: str, seconds: dict[str, float]) -> str:
    """A line, with how much of the true time each plan is."""
    true = seconds["true"]
    cells = "".join(f"{seconds[side]:>13.1f} {seconds[side] / true:>6.0%}" for side in ("tried", "half"))
    return f"{name:<20}{cells}{true:>10.1f}"


if __name__ == "__main__":
    main()
