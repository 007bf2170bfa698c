"""Train a baseline by its name."""

from pathlib import Path

from partdistillation.baselines import Name, contrastive, one_stage, supervised
from partdistillation.config import Inputs, Recipe
from partdistillation.datasets.own_parts import require_labels
from partdistillation.runs.stage_log import remember_first
from partdistillation.stages import objects


def run_baseline(name: Name, inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1 where it isn't done yet, then train a baseline; return its model's folder.

    A folder that remembers no settings yet remembers these, so that the next call needs only `--out`.

    That of `contrastive`, which has a network an object class, is the folder of them all.

    Raises:
        ConfigError, InputError: images, objects or parts are missing, or can't be used; before any training.
    """
    require_labels(inputs)
    remember_first(inputs, recipe)
    objects.run(inputs, recipe)
    return train_baseline(name, inputs, recipe)


def train_baseline(name: Name, inputs: Inputs, recipe: Recipe) -> Path:
    """`run_baseline` where stage 1 is done and the inputs are known to be usable."""
    match name:
        case "supervised":
            return supervised.run(inputs, recipe)
        case "supervised-agnostic":
            return supervised.run_agnostic(inputs, recipe)
        case "one-stage":
            return one_stage.run(inputs, recipe)
        case "contrastive":
            return contrastive.run(inputs, recipe)
