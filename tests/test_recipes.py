import dataclasses
from pathlib import Path

import pytest

from partdistillation import pipeline
from partdistillation.config import ContrastiveConfig, Inputs, Recipe, TrainingConfig
from partdistillation.errors import ConfigError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.recipes import (
    CONTRASTIVE_MANUAL,
    DEMO,
    ONE_GPU,
    PAPER,
    RECIPES,
    RELEASED_1K,
    RELEASED_21K,
    recipe,
)


def schedule(settings: TrainingConfig) -> tuple[int, int, float]:
    return settings.steps, settings.batch_size, settings.learning_rate


def test_paper_has_the_papers_numbers() -> None:
    assert schedule(PAPER.proposals) == (50_000, 128, 1e-4)
    assert schedule(PAPER.distillation) == (120_000, 128, 1e-4)
    assert (PAPER.segments.k, PAPER.segments.restarts, PAPER.segments.levels) == (4, 10, (3, 4))
    crf = PAPER.segments.crf
    assert (crf.gt_prob, crf.iterations) == (0.7, 10)
    assert (crf.gaussian_sxy, crf.gaussian_weight) == (3, 3)
    assert (crf.bilateral_sxy, crf.bilateral_srgb, crf.bilateral_weight) == (20, 13, 10)
    ranking = PAPER.ranking
    assert (ranking.min_ratio, ranking.min_score, ranking.num_parts) == (0.05, 0.3, 8)
    assert (ranking.label_min_ratio, ranking.label_min_score) == (ranking.min_ratio, ranking.min_score)
    assert (ranking.distance, ranking.normalize, ranking.keep_all_if_none) == ("l2", True, False)
    assert (PAPER.objects.max_objects, PAPER.objects.max_found) == (None, 10)
    assert not PAPER.proposals.importance_sampling


def test_paper_s_stage_0_is_mask2former_s() -> None:
    settings = PAPER.pretrain
    assert schedule(settings.for_images(118_000)) == (737_500, 16, 1e-4)
    assert (settings.epochs, settings.schedule, settings.clip_norm) == (100, "step", 0.01)
    assert (settings.weight_decay, settings.backbone_multiplier, settings.drop_path) == (0.05, 0.1, 0.3)
    assert (settings.num_queries, settings.pixel_decoder_layers, settings.decoder_layers) == (200, 6, 9)
    assert (settings.class_weight, settings.mask_weight, settings.dice_weight) == (2, 5, 5)
    assert (settings.no_object_weight, settings.points, settings.importance_sampling) == (0.1, 12_544, True)
    assert (settings.image_size, settings.scale_min, settings.scale_max, settings.flip) == (1024, 0.1, 2, 0.5)
    assert (settings.freeze, settings.min_object_area, settings.warmup.steps) == ("none", 0, 0)


def test_released_1k() -> None:
    assert schedule(RELEASED_1K.proposals) == (90_000, 64, 1e-5)
    assert schedule(RELEASED_1K.distillation) == (90_000, 32, 1e-5)
    ranking = RELEASED_1K.ranking
    assert (ranking.min_ratio, ranking.min_score) == (0.0, 0.7)
    assert (ranking.label_min_ratio, ranking.label_min_score) == (0.0, 0.0)
    assert (ranking.distance, ranking.normalize, ranking.keep_all_if_none) == ("dot", False, True)


def test_released_21k() -> None:
    assert schedule(RELEASED_21K.proposals) == (50_000, 512, 1e-4)
    assert schedule(RELEASED_21K.distillation) == (120_000, 256, 1e-4)
    ranking = RELEASED_21K.ranking
    assert (ranking.min_ratio, ranking.min_score) == (0.05, 0.3)
    assert (ranking.label_min_ratio, ranking.label_min_score) == (0.05, 0.1)
    assert (ranking.distance, ranking.normalize, ranking.keep_all_if_none) == ("released_21k", True, True)


def test_both_published_settings_of_the_contrastive_baseline() -> None:
    table, manual = PAPER.contrastive, CONTRASTIVE_MANUAL.contrastive

    def weights(settings: ContrastiveConfig) -> tuple[float, ...]:
        return (
            settings.visual_weight,
            settings.equivariance_weight,
            settings.semantic_weight,
            settings.contrastive_weight,
        )

    assert weights(table) == weights(DEMO.contrastive) == (30, 5.7e3, 5, 2.3e3)
    assert weights(manual) == (1, 1e3, 100, 1e4)
    assert (table.num_parts, table.image_size) == (4, 256)
    assert (manual.num_parts, manual.image_size) == (8, 640)
    for settings in (table, manual):
        assert (settings.steps, settings.batch_size, settings.learning_rate) == (30_000, 16, 1e-5)
    assert dataclasses.replace(CONTRASTIVE_MANUAL, contrastive=table) == PAPER


def test_demo_keeps_the_method() -> None:
    assert DEMO.encoder == "builtin:part-shapes"
    same = dataclasses.replace(DEMO.ranking, image_size=PAPER.ranking.image_size)
    assert same == PAPER.ranking


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_its_own_values(name: str) -> None:
    assert recipe(name) == PAPER.updated(RECIPES[name].to_dict())


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'released-1k'. Did you mean 'released_1k'\?"):
        recipe("released-1k")
    with pytest.raises(ConfigError, match="Known: small, one_gpu, paper, released_1k, released_21k"):
        recipe("xyzzy")


@pytest.mark.slow
def test_the_recipe_of_one_gpu_runs(drawings: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    """At tiny size: as it is but for the network, the steps and the pixels."""
    few = {"steps": 2, "batch_size": 2, "image_size": 64, "points": 16, "min_object_area": 0.0}
    recipe = ONE_GPU.updated(
        {
            "encoder": tiny_recipe.encoder,
            "segments": {"image_size": 64},
            "proposals": few,
            "ranking": {"image_size": 64, "min_score": 0.0, "label_min_score": 0.0, "num_parts": 2},
            "distillation": few,
        }
    )
    inputs = Inputs(
        out=tmp_path / "out", images=drawings / "train", objects=drawings / "objects_train.json", device="cpu"
    )
    pipeline.run(inputs, recipe)
    assert PartMask2Former.from_pretrained(tmp_path / "out/part_model").info.num_parts == 2
