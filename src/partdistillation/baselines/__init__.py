"""What the method is compared with: other labels for the same networks (supplement, section 3)."""

from pathlib import Path
from typing import Literal, get_args

from partdistillation.config import Inputs, Recipe

FOLDER = "baselines"
"""In a run's folder: a folder for each baseline."""

Name = Literal["one_stage", "supervised", "supervised_agnostic", "contrastive"]
NAMES: tuple[Name, ...] = get_args(Name)


def run(name: Name, inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1 where it isn't done yet, then train a baseline; return its model's folder.

    That of `contrastive`, which has a network an object class, is the folder of them all.

    Raises:
        ConfigError, InputError: images, objects or parts are missing, or can't be used; before any training.
    """
    from partdistillation.baselines import contrastive, one_stage, supervised
    from partdistillation.data.own_parts import require_labels
    from partdistillation.stages import objects

    require_labels(inputs)
    objects.run(inputs, recipe)
    match name:
        case "supervised":
            return supervised.run(inputs, recipe)
        case "supervised_agnostic":
            return supervised.run_agnostic(inputs, recipe)
        case "one_stage":
            return one_stage.run(inputs, recipe)
        case "contrastive":
            return contrastive.run(inputs, recipe)
