"""Which settings decide which artefact: with another value of one, a stage that is done must refuse.

Each stage, baseline and experiment is done once, and then asked again with one setting changed.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from partdistillation.baselines import contrastive, one_stage, supervised
from partdistillation.config import (
    CollectingConfig,
    ContrastiveConfig,
    CrfConfig,
    DistillationConfig,
    FinetuneConfig,
    Inputs,
    KMeansConfig,
    ObjectsConfig,
    ObjectsFrom,
    PixelsConfig,
    PretrainConfig,
    ProposalsConfig,
    RankingConfig,
    Recipe,
    SegmentsConfig,
    SupervisedConfig,
    WarmupConfig,
)
from partdistillation.errors import SettingsChanged
from partdistillation.evaluation.controls import (
    Validation,
    measure_clustered,
    measure_proposals,
    measure_segments,
)
from partdistillation.experiments import few_shot
from partdistillation.experiments.runs import Run
from partdistillation.models import hub
from partdistillation.objects import models
from partdistillation.part_shapes import write_coco
from partdistillation.runs import digests
from partdistillation.runs.records import Object
from partdistillation.settings import INCIDENTAL, Settings, left_out
from partdistillation.stages import distillation, objects, pretrain, proposals, ranking, segments, warmup

pytestmark = pytest.mark.slow

Work = Callable[[Inputs, Recipe], object]


class Finished(NamedTuple):
    """A folder in which everything is done."""

    inputs: Inputs
    recipe: Recipe
    others: Mapping[str, Any]
    """Values of settings that name files."""


def validation(inputs: Inputs, recipe: Recipe) -> Validation:
    held_out = Validation(replace(inputs.held_out, out=inputs.out / "validation"), recipe)
    held_out.prepare()
    return held_out


def objects_of(source: ObjectsFrom, inputs: Inputs, recipe: Recipe) -> Path:
    if recipe.objects.source == "annotations":  # not changed by the test
        recipe = replace(recipe, objects=replace(recipe.objects, source=source))
    return objects.run(replace(inputs, out=inputs.out / source), recipe)


def validation_proposals(inputs: Inputs, recipe: Recipe) -> object:
    return measure_proposals(validation(inputs, recipe), inputs.out / proposals.FOLDER)


def validation_clusters(inputs: Inputs, recipe: Recipe) -> object:
    model = inputs.out / proposals.FOLDER
    return measure_clustered(validation(inputs, recipe), model, "clustered", "clustered", "result")


def few_shot_training(inputs: Inputs, recipe: Recipe) -> None:
    few_shot.few_shot([Run(0, inputs, recipe)], inputs.out, (f"run:{proposals.FOLDER}",))


WORKS: dict[str, Work] = {
    "pretrain": pretrain.run,
    "objects": objects.run,
    "objects by grounded_sam": partial(objects_of, "grounded_sam"),
    "objects by detic": partial(objects_of, "detic"),
    "segments": segments.run,
    "proposals": proposals.run,
    "ranking": ranking.run,
    "distillation": distillation.run,
    "one-stage": one_stage.run,
    "supervised": supervised.run,
    "supervised-agnostic": supervised.run_agnostic,
    "contrastive": contrastive.run,
    "few-shot": few_shot_training,
    "validation: segments": lambda inputs, recipe: measure_segments(validation(inputs, recipe)),
    "validation: proposals": validation_proposals,
    "validation: clusters": validation_clusters,
}

DECIDES: Sequence[tuple[type[Settings], str]] = (
    (PretrainConfig, "pretrain"),
    (WarmupConfig, "pretrain"),
    (ObjectsConfig, "objects by grounded_sam"),
    (SegmentsConfig, "segments"),
    (CrfConfig, "segments"),
    (SegmentsConfig, "validation: segments"),
    (CrfConfig, "validation: segments"),
    (ProposalsConfig, "proposals"),
    (RankingConfig, "ranking"),
    (RankingConfig, "validation: clusters"),
    (CollectingConfig, "validation: proposals"),
    (DistillationConfig, "distillation"),
    (DistillationConfig, "one-stage"),
    (PixelsConfig, "one-stage"),
    (KMeansConfig, "one-stage"),
    (SupervisedConfig, "supervised"),
    (SupervisedConfig, "supervised-agnostic"),
    (ContrastiveConfig, "contrastive"),
    (FinetuneConfig, "few-shot"),
)
"""All fields of a section decide what a work makes."""

BESIDES = (
    *(("objects", name, "objects") for name in ("source", "max_objects", "min_area")),
    ("objects", "text_model", "objects by detic"),
    ("ranking", "num_parts", "distillation"),
    *(("distillation", "exact_rows", work) for work in ("supervised", "few-shot")),
    *(
        ("", "encoder", work)
        for work in ("segments", "proposals", "distillation", "one-stage", "supervised",
                     "supervised-agnostic", "contrastive", "few-shot", "validation: segments")
    ),
)  # fmt: skip
"""Single settings that decide what is made where the rest of their section doesn't."""

ELSEWHERE = {
    ("objects", "source"): "the work sets it",
    ("objects", "text_model"): "detic alone has one",
    ("finetune", "percents"): "each has a folder of its own",
}
"""Fields of a section that its work doesn't depend on, and why."""


def cases() -> Iterator[tuple[str, str, str]]:
    for settings, work in DECIDES:
        for entry in fields(settings):
            value = entry.default_factory() if callable(entry.default_factory) else entry.default
            if not isinstance(value, Settings) and (settings.section, entry.name) not in ELSEWHERE:
                yield settings.section, entry.name, work
    yield from BESIDES


def leaves(settings: Settings) -> Iterator[tuple[str, str]]:
    """Section and name of each setting."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if isinstance(value, Settings):
            yield from leaves(value)
        else:
            yield settings.section, entry.name


def test_every_setting_is_asked_about() -> None:
    asked = {(section, name) for section, name, _ in cases()} | ELSEWHERE.keys()
    assert asked == set(leaves(Recipe()))


class NoObjects:
    """An ObjectSegmenter that finds nothing."""

    vocabulary = None

    def __call__(self, images: Sequence[np.ndarray], _: Sequence[str]) -> list[list[Object]]:
        return [[] for _ in images]


@pytest.fixture(scope="module")
def finished(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder, drawings = (tmp_path_factory.mktemp(name) for name in ("fingerprints", "few_drawings"))
    write_coco(drawings, "train", seed=1, count=5, size=64)
    write_coco(drawings, "val", seed=2, count=2, size=64)
    inputs = Inputs(
        out=folder / "out",
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
        val_images=drawings / "val",
        val_objects=drawings / "objects_val.json",
        val_parts=drawings / "parts_val.json",
        device="cpu",
    )
    classes, other_classes, other_objects = (
        folder / name for name in ("classes.txt", "others.txt", "others.json")
    )
    classes.write_text("car\n")
    other_classes.write_text("cat\n")
    document = json.loads(inputs.need("objects").read_text())
    document["annotations"] = document["annotations"][:-1]
    other_objects.write_text(json.dumps(document))
    encoder = Path(shutil.copytree(tiny_recipe.encoder, folder / "encoder"))
    (encoder / "config.json").write_text((encoder / "config.json").read_text() + "\n")
    (encoder / digests.FILE).unlink()  # as who changes a file on purpose does
    warm = {"steps": 2, "batch_size": 2, "image_size": 64, "min_side": 4, "clustering_weight": 0.5}
    small = {"backbone": "small", "hidden_dim": 32, "decoder_layers": 2, "num_queries": 6, "batch_size": 4,
             "image_size": 64, "points": 16, "epochs": 1, "warmup": warm}  # fmt: skip
    recipe = tiny_recipe.updated(
        {
            "pretrain": small,
            "objects": {"classes": str(classes), "model": "some/model"},
            "segments": {"coarse_k": 1, "crf": {"iterations": 1}},
            "ranking": {"features": "encoder"},
            "finetune": {"steps": 0, "steps_per_percent": 1, "percents": [2]},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_segmenter", lambda *_: NoObjects())
        patch.setattr(hub, "commit", lambda _: "0" * 40)
        for work in WORKS.values():
            work(inputs, recipe)
        others = {
            "encoder": str(encoder),
            "objects.source": "sam3",
            "segments.encoders": [str(encoder)],
            "objects.classes": str(other_classes),
            "pretrain.warmup.objects": str(other_objects),
        }
        yield Finished(inputs, recipe, others)


def other(hint: object, value: Any) -> Any:
    """Another value that a setting may have."""
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 32 if value >= 32 else value + 1  # sizes are multiples of 32
    if value is None and int in get_args(hint):
        return 1
    if isinstance(value, float):
        return value * 0.9 if value else 0.01
    return list(value[1:]) if isinstance(value, tuple) else "another/model"


def changed(finished: Finished, section: str, name: str) -> tuple[Recipe, bool]:
    """The recipe with another value of a setting, and whether that may be."""
    path = section.split(".") if section else []
    settings: Settings = finished.recipe
    for step in path:
        settings = getattr(settings, step)
    hint = get_type_hints(type(settings), include_extras=True)[name]
    plain = get_type_hints(type(settings))[name]
    key = ".".join([*path, name])
    values: Any = {name: finished.others.get(key, other(plain, getattr(settings, name)))}
    for step in reversed(path):
        values = {step: values}
    return finished.recipe.updated(values), left_out(hint) is INCIDENTAL


@pytest.mark.parametrize(("section", "name", "work"), tuple(cases()))
def test_a_setting_decides(section: str, name: str, work: str, finished: Finished) -> None:
    recipe, may_change = changed(finished, section, name)
    if may_change:
        WORKS[work](finished.inputs, recipe)
    else:
        with pytest.raises(SettingsChanged):
            WORKS[work](finished.inputs, recipe)


@pytest.mark.parametrize(
    ("section", "name"),
    [("pretrain", "backbone"), ("pretrain", "drop_path"), ("pretrain", "seed"), *leaves(WarmupConfig())],
)
def test_a_setting_decides_the_warm_up(section: str, name: str, finished: Finished, tmp_path: Path) -> None:
    """That is done already where stage 0 has yet to begin."""
    recipe, may_change = changed(finished, section, name)
    if may_change:
        return
    for folder in (warmup.FOLDER, pretrain.DATA):
        shutil.copytree(finished.inputs.out / folder, tmp_path / folder)
    model = pretrain.new_model(finished.recipe.pretrain, ("car",), seed=0, image_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "new_model", lambda *_, **__: model)  # another backbone isn't here
        with pytest.raises(SettingsChanged, match=warmup.FOLDER):
            pretrain.run(replace(finished.inputs, out=tmp_path), recipe)


def test_a_share_decides_the_steps() -> None:
    one, two = (FinetuneConfig(percents=(1, 2)).for_percent(percent).fingerprint() for percent in (1, 2))
    assert one["steps"] < two["steps"]
