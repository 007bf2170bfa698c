"""The method in order: from images and object masks to a part model (paper, section 4)."""

from pathlib import Path

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.stages import distillation, ranking
from partdistillation.stages import objects as objects_stage
from partdistillation.stages import pretrain as pretrain_stage
from partdistillation.stages import proposals as proposals_stage
from partdistillation.stages import segments as segments_stage


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Stages 1 to 5 and the report. Run again with the same arguments to go on where it was stopped."""
    config.save(inputs, recipe)
    objects_stage.run(inputs, recipe)
    segments_stage.run(inputs, recipe)
    proposals_stage.run(inputs, recipe)
    ranking.run(inputs, recipe)
    distillation.run(inputs, recipe)
    return report(inputs, recipe)
