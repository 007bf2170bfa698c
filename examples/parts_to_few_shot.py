"""From discovered parts to named ones: teach a part model true parts of a few images, measure it on others.

    python examples/parts_to_few_shot.py DATA out/few

`DATA` has `train/` and `val/` with `objects_SPLIT.json` and `parts_SPLIT.json`, as `examples/own_data_set.py`
and `partdistill prepare` write them. The part model is made first, without part labels; then it is trained
further on 5, 10, ... percent of the labelled images, each share anew.
"""

import sys
from pathlib import Path

from partdistillation.config import Inputs, Recipe
from partdistillation.experiments.few_shot import few_shot
from partdistillation.experiments.runs import Run
from partdistillation.recipes import SMALL, seeded


def main(data: Path, out: Path, *, recipe: Recipe = SMALL, seed: int = 0) -> None:
    """Learn from shares of the labels, print mIoU a share, and draw its curve."""
    inputs = Inputs(
        images=data / "train",
        objects=data / "objects_train.json",
        parts=data / "parts_train.json",
        val_images=data / "val",
        val_objects=data / "objects_val.json",
        val_parts=data / "parts_val.json",
        out=out,
    )
    few_shot([Run(seed, inputs, seeded(recipe, seed))], out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
