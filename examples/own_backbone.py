"""A backbone of one's own as the encoder: what transformers can write, the software can read.

    python examples/own_backbone.py photos objects.json out/own

The ConvNeXt here has random weights, so its parts are poor: load your own with its `load_state_dict`. Any
backbone of four scales will do; stage 3 builds a Mask2Former around it.
"""

import sys
from dataclasses import replace
from pathlib import Path

from transformers import ConvNextBackbone, ConvNextConfig, ConvNextImageProcessor

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.recipes import SMALL


def write_backbone(folder: Path) -> None:
    """A folder as transformers writes it: config.json, model.safetensors, and the pixels that it expects."""
    config = ConvNextConfig(hidden_sizes=[32, 64, 128, 256], depths=[2, 2, 4, 2])
    ConvNextBackbone(config).save_pretrained(folder)
    ConvNextImageProcessor(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]).save_pretrained(folder)


def main(images: Path, objects: Path, out: Path, *, recipe: Recipe = SMALL) -> None:
    """Discover parts by the backbone's features."""
    backbone = out / "backbone"
    if not backbone.is_dir():  # a run remembers its encoder, and notices another
        write_backbone(backbone)
    pipeline.run(Inputs(images=images, objects=objects, out=out), replace(recipe, encoder=str(backbone)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
