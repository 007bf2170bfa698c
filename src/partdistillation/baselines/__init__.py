"""What the method is compared with: other labels for the same networks (supplement, section 3)."""

import os
from pathlib import Path
from typing import Literal, get_args

from partdistillation import config
from partdistillation.config import Inputs, Recipe

FOLDER = "baselines"
"""In a run's folder: a folder for each baseline."""

Name = Literal["one-stage", "supervised", "supervised-agnostic", "contrastive"]
NAMES: tuple[Name, ...] = get_args(Name)


def run(name: Name, inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1 where it isn't done yet, then train a baseline; return its model's folder.

    A folder that remembers no settings yet remembers these, so that the next call needs only `--out`.

    That of `contrastive`, which has a network an object class, is the folder of them all.

    Raises:
        ConfigError, InputError: images, objects or parts are missing, or can't be used; before any training.
    """
    from partdistillation.datasets.own_parts import require_labels
    from partdistillation.stages import objects

    require_labels(inputs)
    _remember(inputs, recipe)
    objects.run(inputs, recipe)
    return train(name, inputs, recipe)


def train(name: Name, inputs: Inputs, recipe: Recipe) -> Path:
    """`run` where stage 1 is done and the inputs are known to be usable."""
    from partdistillation.baselines import contrastive, one_stage, supervised

    match name:
        case "supervised":
            return supervised.run(inputs, recipe)
        case "supervised-agnostic":
            return supervised.run_agnostic(inputs, recipe)
        case "one-stage":
            return one_stage.run(inputs, recipe)
        case "contrastive":
            return contrastive.run(inputs, recipe)


def _remember(inputs: Inputs, recipe: Recipe) -> None:
    """Of torchrun's processes the first one writes."""
    if int(os.environ.get("RANK", "0")) == 0 and not (inputs.out / config.CONFIG_FILE).exists():
        config.save(inputs, recipe)
