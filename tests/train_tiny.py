"""A tiny network that learns random masks, for the tests of training; as a program, it trains once.

`python train_tiny.py FOLDER STEPS KIND` trains in FOLDER; under torchrun, on several processes.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

from partdistillation.config import PretrainConfig, TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.objective import SetPrediction
from partdistillation.training import Objective, Run, processes, train

STAGES = ["stage1", "stage2", "stage3", "stage4"]
CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=6,
    batch_size=2,
    learning_rate=1e-2,
    warmup_steps=2,
    clip_norm=1.0,
    image_size=32,
    points=16,
    checkpoint_every=1,
    log_every=1,
)


def network(kind: str) -> PartMask2Former:
    """`frozen`: as stage 3. `parts`: as stage 5. `resnet`, `swin`: as stage 0, with all trained."""
    backbone: Any = ResNetConfig(  # type: ignore[call-arg]
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=STAGES
    )
    if kind == "swin":
        backbone = SwinConfig(  # type: ignore[call-arg]
            embed_dim=8,
            depths=[1, 2, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            drop_path_rate=0.5,
            out_features=STAGES,
        )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=1,
        encoder_feedforward_dim=16,
        decoder_layers=2,
        dim_feedforward=16,
        num_queries=4,
        num_attention_heads=2,
    )
    info = ModelInfo(("car", "cat", "tree"), num_parts=2) if kind == "parts" else ModelInfo(("part",))
    model = PartMask2Former.create(config, info, seed=1)
    model.set_frozen("none" if kind in ("resnet", "swin") else "official")
    return model


class RandomMasks:
    """Random images, of which each has its own masks, more or less cropped."""

    def __init__(self, kind: str, count: int = 5) -> None:
        self.kind, self.count = kind, count

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, rng: np.random.Generator) -> Example:
        own = np.random.default_rng(index)
        image = (own.integers(0, 200, (32, 32, 3)) + rng.integers(0, 56)).astype(np.uint8)
        masks = own.random((index % 3, 32, 32)) < rng.random()
        classes = (index % 3,) if self.kind == "parts" and len(masks) else ()
        labels = np.arange(len(masks)) % (2 if self.kind == "parts" else 1)
        return Example(image, masks, labels.astype(np.int64), np.zeros(len(masks), np.int64), classes)


def train_tiny(out: Path, kind: str = "frozen", config: TrainingConfig = CONFIG, wrap: Any = None) -> Path:
    """Train, with an objective that `wrap` may change."""
    if kind in ("resnet", "swin"):
        shared = {name: value for name, value in vars(config).items() if name in vars(CONFIG)}
        config = PretrainConfig(**(shared | {"importance_sampling": True, "freeze": "none"}))
    out.mkdir(parents=True, exist_ok=True)
    with processes(CPU):
        model = network(kind)
        objective: Objective[Example] = SetPrediction(model, config, CPU)
        return train(
            model,
            RandomMasks(kind),
            wrap(objective) if wrap else objective,
            config,
            Run(out, "proposals", out / "model", {"settings": {"steps": config.steps, "seed": config.seed}}),
            save=model.save_pretrained,
            device=CPU,
        )


def contents(out: Path) -> dict[str, bytes]:
    """All that a run leaves, but the model card's date."""
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".md")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_tiny(Path(sys.argv[1]), sys.argv[3], replace(CONFIG, steps=int(sys.argv[2])))
