"""Named settings for a whole run: recipes, as plain values. No torch here.

SMALL is for photographs and a laptop's CPU, offline: what ImageNet taught EfficientNet-Lite0 instead of a
Mask2Former. ONE_GPU is for a published Mask2Former and a night on one GPU of 24 GB (docs/recipes.md says how
it is sized). PAPER follows the paper. RELEASED_1K and RELEASED_21K make the choices of the authors' released
code where it differs, so that its checkpoints and labels can be used and compared. CONTRASTIVE_MANUAL is
PAPER but for the contrastive baseline, which is that of the manual evaluation instead of that of the table
(supplement, section 3). DEMO is the method at the size of PartShapes' small drawings and of a laptop.
"""

from dataclasses import replace
from typing import Any

from partdistillation.config import (
    LITE0,
    ContrastiveConfig,
    DistillationConfig,
    FinetuneConfig,
    ObjectsConfig,
    PretrainConfig,
    ProposalsConfig,
    RankingConfig,
    Recipe,
    SegmentsConfig,
    SupervisedConfig,
    WarmupConfig,
)
from partdistillation.errors import ConfigError
from partdistillation.settings import did_you_mean

PAPER = Recipe()

_RELEASED_FEW_SHOT = FinetuneConfig(steps=20_000, learning_rate=1e-4)

RELEASED_1K = Recipe(
    objects=ObjectsConfig(people=True, keep_any_class=True),
    proposals=ProposalsConfig(steps=90_000, batch_size=64, learning_rate=1e-5),
    ranking=RankingConfig(
        min_ratio=0.0,
        min_score=0.7,
        label_min_ratio=0.0,
        label_min_score=0.0,
        keep_all_if_none=True,
        distance="dot",
        normalize=False,
    ),
    distillation=DistillationConfig(steps=90_000, batch_size=32, learning_rate=1e-5),
    finetune=_RELEASED_FEW_SHOT,
)

CONTRASTIVE_MANUAL = Recipe(
    contrastive=ContrastiveConfig(
        num_parts=8,
        image_size=640,
        visual_weight=1.0,
        equivariance_weight=1.0e3,
        semantic_weight=100.0,
        contrastive_weight=1.0e4,
    )
)

RELEASED_21K = Recipe(
    objects=ObjectsConfig(keep_any_class=True),
    proposals=ProposalsConfig(batch_size=512),
    ranking=RankingConfig(label_min_score=0.1, keep_all_if_none=True, distance="released_21k"),
    distillation=DistillationConfig(batch_size=256),
    finetune=_RELEASED_FEW_SHOT,
)

_DEMO_SIZE = 256
"""Working size of PartShapes' 128 pixels: res3 then has a feature for every 4 x 4 pixels of a drawing."""
_DEMO_TRAINING_SIZE = 144
"""Side of the canvas in stages 3 and 5: a third of the work of 256, so more steps, which count for more."""

_ON_A_CPU: dict[str, Any] = {
    "batch_size": 8,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "clip_norm": 1.0,
    "points": 4_096,
    "checkpoint_every": 100,
}
"""Trainings of a quarter of an hour, of small networks on small images."""

_DEMO_TRAINING: dict[str, Any] = {
    **_ON_A_CPU,
    "image_size": _DEMO_TRAINING_SIZE,
    "scale_min": 0.8,
    "scale_max": 1.4,
    "freeze": "none",
}

DEMO = Recipe(
    encoder="builtin:part-shapes",
    pretrain=PretrainConfig(
        backbone="small",
        hidden_dim=64,
        pixel_decoder_layers=1,
        decoder_layers=3,
        num_queries=24,
        steps=800,
        batch_size=8,
        learning_rate=5e-4,
        backbone_multiplier=0.2,
        schedule="cosine",
        clip_norm=1.0,
        image_size=_DEMO_SIZE,
        scale_min=0.6,
        scale_max=1.5,
        points=1_024,
        class_weight=4.0,
        checkpoint_every=100,
        half_precision_weights=True,
        warmup=WarmupConfig(steps=2_200, checkpoint_every=200),
    ),
    segments=SegmentsConfig(image_size=_DEMO_SIZE, metric="l2"),
    proposals=ProposalsConfig(steps=600, min_object_area=0.01, **_DEMO_TRAINING),
    ranking=RankingConfig(image_size=192),
    distillation=DistillationConfig(steps=300, **_DEMO_TRAINING),
    supervised=SupervisedConfig(steps=300, importance_sampling=False, **_DEMO_TRAINING),
    finetune=FinetuneConfig(
        percents=(5, 10, 20, 50, 100), steps=200, importance_sampling=False, **_DEMO_TRAINING
    ),
    contrastive=ContrastiveConfig(
        image_size=128, steps=100, batch_size=8, learning_rate=3e-4, checkpoint_every=50
    ),
)

_SMALL_TRAINING: dict[str, Any] = {
    **_ON_A_CPU,
    "image_size": 288,
    "scale_min": 0.6,
    "scale_max": 1.4,
    "freeze": "backbone",
    "max_epochs": 40,
}

SMALL = Recipe(
    encoder=LITE0,
    pretrain=PretrainConfig(
        backbone=LITE0,
        hidden_dim=64,
        pixel_decoder_layers=1,
        decoder_layers=3,
        num_queries=24,
        steps=1_000,
        **_SMALL_TRAINING,
    ),
    segments=SegmentsConfig(k=8, image_size=512, levels=(3, 4, 5), level_norm="unit", metric="l2"),
    proposals=ProposalsConfig(steps=1_000, min_object_area=0.0, min_mask_area=0.01, **_SMALL_TRAINING),
    ranking=RankingConfig(
        image_size=288,
        min_ratio=0.01,
        label_min_ratio=0.01,
        features="encoder",
        levels=(5,),
        candidates="segments",
    ),
    distillation=DistillationConfig(steps=1_000, **_SMALL_TRAINING),
    supervised=SupervisedConfig(steps=1_000, importance_sampling=False, **_SMALL_TRAINING),
    finetune=FinetuneConfig(
        percents=(5, 10, 20, 50, 100), steps=200, importance_sampling=False, **_SMALL_TRAINING
    ),
    contrastive=ContrastiveConfig(
        image_size=192, steps=400, batch_size=8, learning_rate=3e-4, checkpoint_every=100
    ),
)

ONE_GPU = Recipe(
    segments=SegmentsConfig(level_norm="unit", metric="l2"),
    proposals=ProposalsConfig(
        steps=10_000, batch_size=16, learning_rate=5e-5, min_mask_area=0.01, schedule="cosine"
    ),
    ranking=RankingConfig(features="both", levels=(4, 5)),
    distillation=DistillationConfig(steps=12_000, batch_size=16, learning_rate=5e-5, schedule="cosine"),
    supervised=SupervisedConfig(steps=12_000, batch_size=16, learning_rate=5e-5, schedule="cosine"),
)

DEFAULT = "small"
OTHER_RECIPES = (
    "--recipe one_gpu (a published model as encoder, a night on one GPU of 24 GB)",
    "--recipe paper (the paper's settings, for many GPUs)",
)
"""What is said where no recipe is named."""
RECIPES = {
    "small": SMALL,
    "one_gpu": ONE_GPU,
    "paper": PAPER,
    "released_1k": RELEASED_1K,
    "released_21k": RELEASED_21K,
    "contrastive_manual": CONTRASTIVE_MANUAL,
    "demo": DEMO,
}


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with one seed in all of its stages."""
    return replace(
        recipe,
        pretrain=replace(recipe.pretrain, seed=seed, warmup=replace(recipe.pretrain.warmup, seed=seed)),
        segments=replace(recipe.segments, seed=seed),
        proposals=replace(recipe.proposals, seed=seed),
        ranking=replace(recipe.ranking, seed=seed),
        distillation=replace(recipe.distillation, seed=seed),
        supervised=replace(recipe.supervised, seed=seed),
        finetune=replace(recipe.finetune, seed=seed),
        contrastive=replace(recipe.contrastive, seed=seed),
    )


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}.{did_you_mean(name, RECIPES)}")
    return RECIPES[name]
