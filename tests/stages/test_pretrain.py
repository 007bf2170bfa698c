"""Stage 0 from nothing, on a few small scenes: exact when stopped, and readable by transformers."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
    ResNetModel,
    SwinConfig,
    SwinForImageClassification,
)

from partdistillation import pipeline
from partdistillation.config import Inputs, PretrainConfig, Recipe, WarmupConfig
from partdistillation.data.coco import read_instances
from partdistillation.data.images import load_image
from partdistillation.errors import CheckpointError, ConfigError, InputError, SettingsChanged
from partdistillation.evaluation import instances
from partdistillation.models.encoder import normalize_images
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits
from partdistillation.part_shapes import write_coco
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.run_folder import save_settings
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import objects, pretrain, warmup
from partdistillation.stages.warmup import WarmupObjective
from partdistillation.training.objective import SetPrediction
from partdistillation.training.optim import Optimizer

SIZE = 64
DATA = f"{pretrain.DATA}/{objects.FOLDER}"
CONFIG = PretrainConfig(
    backbone="small",
    hidden_dim=32,
    pixel_decoder_layers=1,
    decoder_layers=2,
    num_queries=6,
    steps=3,
    batch_size=2,
    learning_rate=1e-3,
    clip_norm=1.0,
    image_size=SIZE,
    points=64,
    checkpoint_every=1,
    log_every=1,
)
WARMUP = WarmupConfig(
    steps=3,
    batch_size=4,
    image_size=SIZE,
    clustering_weight=0.5,
    prototypes=8,
    min_side=8,
    checkpoint_every=1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PartShapes: six scenes."""
    root = tmp_path_factory.mktemp("data")
    write_coco(root, "train", seed=3, count=6, size=SIZE)
    return root


def inputs(data: Path, out: Path) -> Inputs:
    return Inputs(out=out, images=data / "train", objects=data / "objects_train.json", device="cpu")


def recipe(data: Path, **settings: Any) -> Recipe:
    warmup = replace(WARMUP, objects=str(data / "varieties_train.json"))
    return Recipe(pretrain=replace(CONFIG, **{"warmup": warmup, **settings}))


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that wasn't stopped."""
    out = tmp_path_factory.mktemp("straight")
    assert pretrain.run(inputs(data, out), recipe(data)) == out / pretrain.FOLDER
    return out


@pytest.fixture
def without_warmup(data: Path) -> Recipe:
    return recipe(data, warmup=WarmupConfig())


# ---------------------------------------------------------------------- a run


def test_a_run_leaves_objects_encoder_and_model(straight: Path) -> None:
    assert sorted(path.name for path in straight.iterdir()) == [
        "checkpoints",
        "encoder_warmup",
        "metrics.jsonl",
        "pretrain_data",
        "pretrained_model",
    ]
    assert not any((straight / "checkpoints").iterdir())
    lines = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    logged = [(line["stage"], line["step"]) for line in lines]
    assert logged[:2] == [("encoder warm-up", 0), ("encoder warm-up", 2)]  # every 20th and the last
    assert logged[2:] == [("pretrain", step) for step in range(3)]
    assert all(np.isfinite([line["loss"], line["gradient_norm"]]).all() for line in lines)
    assert all(line["clustering"] > 0 and line["classification"] > 0 for line in lines[:2])


def test_the_model_has_the_classes_that_occur(straight: Path, data: Path) -> None:
    rows = list(read_rows(straight / DATA, ObjectRow))
    expected = sorted({found.category for row in rows for found in row.objects})
    model = PartMask2Former.from_pretrained(straight / pretrain.FOLDER)
    assert len(expected) > 1
    assert list(model.info.class_names) == expected
    assert model.info.image_size == SIZE
    assert (model.info.num_parts, model.model.config.num_queries) == (0, 6)


def test_the_model_starts_from_the_warmed_up_encoder(data: Path, tmp_path: Path, straight: Path) -> None:
    """A rate of zero leaves the encoder as the warm-up has made it."""
    settings = recipe(data, backbone_multiplier=0.0)
    out = pretrain.run(inputs(data, tmp_path), settings)
    found = dict(PartMask2Former.from_pretrained(out).model.pixel_level_module.encoder.named_parameters())
    warmed = load_file(tmp_path / "encoder_warmup/model.safetensors")
    assert all(torch.equal(value.detach(), warmed[name]) for name, value in found.items())
    random = new_model(settings.pretrain).model.pixel_level_module.encoder.state_dict()
    name = "encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert not torch.equal(random[name], warmed[name])


def new_model(config: PretrainConfig) -> PartMask2Former:
    return pretrain.new_model(config, ("a",), seed=config.seed, image_size=config.image_size)


def test_the_warm_up_reads_with_the_pretraining_s_processes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(warmup, "run", lambda *_, data_workers, **__: seen.append(data_workers))
    settings = recipe(data).pretrain
    model = new_model(settings)
    folder = pretrain.read_objects(inputs(data, tmp_path))
    for workers in (0, 3):
        changed = replace(settings, data_workers=workers)
        pretrain._warm_up(model, inputs(data, tmp_path), folder, changed, {}, torch.device("cpu"))
    assert seen == [0, 3]


def stop_after(patch: pytest.MonkeyPatch, objective: type[Any], calls: int) -> None:
    """Interrupt, as Ctrl-C does, at the call after so many."""
    original: Callable[..., Any] = objective.__call__
    left = iter(range(calls))

    def counted(self: Any, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return original(self, *arguments)

    patch.setattr(objective, "__call__", counted)


@pytest.mark.slow
def test_stopped_in_either_phase_it_ends_with_the_same_bytes(
    data: Path, tmp_path: Path, straight: Path
) -> None:
    for objective, calls in (
        (WarmupObjective, 2),
        (WarmupObjective, 0),
        (SetPrediction, 0),
        (SetPrediction, 2),
    ):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, objective, calls)
            with pytest.raises(KeyboardInterrupt):
                pretrain.run(inputs(data, tmp_path), recipe(data))
    pretrain.run(inputs(data, tmp_path), recipe(data))
    found, wanted = contents(tmp_path), contents(straight)
    assert [
        name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)
    ] == []


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(data: Path, straight: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in straight.rglob("*") if path.is_file()}
    pretrain.run(inputs(data, straight), recipe(data))
    with pytest.raises(SettingsChanged, match=r"settings\.warmup\.steps: was 3, is now 4"):
        pretrain.run(inputs(data, straight), recipe(data, warmup=replace(WARMUP, steps=4)))
    assert times == {path: path.stat().st_mtime_ns for path in straight.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- the published recipe


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published classifier, but tiny; its own stochastic depth is another than Mask2Former's."""
    folder = tmp_path_factory.mktemp("published") / "swin"
    config: Any = SwinConfig(
        embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, drop_path_rate=0.1
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SwinForImageClassification(config).save_pretrained(folder)
    return folder


def by_epochs(swin: Path, **settings: Any) -> Recipe:
    """Everything as published but the sizes: the warm-up of the rate, importance sampling, two decays.

    Seven epochs of six images, two at a time, are 21 steps: the rate falls after 19 and after 20 of them.
    """
    recipe = replace(CONFIG, backbone=str(swin), steps=0, epochs=7, clip_norm=0.01, learning_rate=1e-4)
    return Recipe(pretrain=replace(recipe, warmup_steps=4, checkpoint_every=5, **settings))


@pytest.mark.slow
def test_stopped_with_a_swin_it_ends_with_the_same_bytes(data: Path, tmp_path: Path, swin: Path) -> None:
    """Stopped within the warm-up of the rate, between two checkpoints, and between the decays."""
    settings = by_epochs(swin)
    assert settings.pretrain.importance_sampling
    assert settings.pretrain.schedule == "step"
    straight = tmp_path / "straight"
    pretrain.run(inputs(data, straight), settings)
    assert "| steps | 21 |" in (straight / pretrain.FOLDER / "README.md").read_text()

    stopped = tmp_path / "stopped"
    for calls in (2, 8, 15):  # go on at step 0, at step 5, and at last at 20
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, SetPrediction, calls)
            with pytest.raises(KeyboardInterrupt):
                pretrain.run(inputs(data, stopped), settings)
    assert [path.name for path in (stopped / "checkpoints/pretrain").glob("step-*")] == [
        "step-00000020.safetensors"
    ]
    pretrain.run(inputs(data, stopped), settings)
    found, wanted = contents(stopped), contents(straight)
    assert [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)] == []


def test_the_steps_count_not_how_they_were_asked_for(data: Path, tmp_path: Path, swin: Path) -> None:
    pretrain.run(inputs(data, tmp_path), by_epochs(swin, epochs=1))
    model = (tmp_path / pretrain.FOLDER / "model.safetensors").read_bytes()
    as_steps = by_epochs(swin, epochs=100)
    as_steps = replace(as_steps, pretrain=replace(as_steps.pretrain, steps=3))
    pretrain.run(inputs(data, tmp_path), as_steps)
    assert (tmp_path / pretrain.FOLDER / "model.safetensors").read_bytes() == model
    with pytest.raises(SettingsChanged, match=r"settings\.steps: was 3, is now 6"):
        pretrain.run(inputs(data, tmp_path), by_epochs(swin, epochs=2))


@pytest.mark.parametrize(
    ("settings", "images", "steps"),
    [
        (PretrainConfig(), 118_000, 737_500),  # Mask2Former's number for COCO
        (PretrainConfig(epochs=50), 118_000, 368_750),
        (PretrainConfig(), 1, 7),  # 6.25, and every image 100 times at least
        (PretrainConfig(steps=12), 118_000, 12),
    ],
)
def test_epochs_decide_the_steps_unless_they_are_given(
    settings: PretrainConfig, images: int, steps: int
) -> None:
    assert settings.for_images(images) == replace(settings, steps=steps)


def test_a_swin_gets_mask2former_s_stochastic_depth(swin: Path) -> None:
    """As in its code: the rate rises from block to block, and norms and position tables don't decay."""
    model = new_model(by_epochs(swin).pretrain)
    backbone: Any = model.model.pixel_level_module.encoder
    rates = [
        float(getattr(block.drop_path, "drop_prob", 0.0))
        for block in backbone.modules()
        if type(block).__name__ == "SwinLayer"
    ]
    np.testing.assert_allclose(rates, [0.0, 0.075, 0.15, 0.225, 0.3], atol=1e-6)


def test_what_decays_and_how_fast_it_learns_is_as_in_mask2former(swin: Path) -> None:
    """Its rule, told by names: no decay for norms, embeddings of queries and levels, and position tables."""
    model = new_model(by_epochs(swin).pretrain)
    names = {id(value): name for name, value in model.named_parameters()}
    groups = Optimizer(model, learning_rate=1e-4)._adamw.param_groups
    found = {
        names[id(value)]: (group["weight_decay"], group["multiplier"])
        for group in groups
        for value in group["params"]
    }
    exempt = re.compile(
        r"norm|relative_position_bias_table|queries_(features|embedder)|transformer_module\.level_embed"
        r"|input_projections\.\d\.1\.|(adapter|layer)_1\.1\."  # group norms, which have numbers for names
    )
    assert found.keys() == set(names.values())
    for name, settings in found.items():
        backbone = name.startswith("model.pixel_level_module.encoder.")
        assert settings == (0.0 if exempt.search(name) else 0.05, 0.1 if backbone else 1.0), name


def test_every_object_is_learned_but_no_crowd(tmp_path: Path) -> None:
    """Twelve objects, which is more than stage 1 keeps; an image with a crowd alone isn't learned from."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("many.png", "crowd.png", "empty.png"):
        Image.new("RGB", (60, 40)).save(images / name)
    box = [[0, 0, 5, 0, 5, 5, 0, 5]]
    crowd = {"size": [40, 60], "counts": [0, 2400]}
    annotations = [
        {"image_id": 1, "category_id": 1 + number % 2, "segmentation": box} for number in range(12)
    ]
    annotations += [{"image_id": 2, "category_id": 3, "segmentation": crowd, "iscrowd": 1}]
    annotations += [{"image_id": 1, "category_id": 3, "segmentation": crowd, "iscrowd": 1}]
    document = {
        "images": [
            {"id": number, "file_name": name, "width": 60, "height": 40}
            for number, name in enumerate(("many.png", "crowd.png", "empty.png"), start=1)
        ],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}, {"id": 3, "name": "c"}],
    }
    (tmp_path / "objects.json").write_text(json.dumps(document))
    given = Inputs(out=tmp_path / "out", images=images, objects=tmp_path / "objects.json")
    names, learned = pretrain.object_images(pretrain.read_objects(given), CONFIG)
    assert names == ("a", "b")
    assert [(image.file_name, len(image.masks)) for image in learned] == [("many.png", 12)]
    assert sorted(mask.label for mask in learned[0].masks) == [0] * 6 + [1] * 6


def test_mask_ap_is_measured_on_held_out_data(
    data: Path, tmp_path: Path, without_warmup: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path, "val", seed=4, count=3, size=SIZE)
    given = replace(
        inputs(data, tmp_path / "out"),
        val_images=tmp_path / "val",
        val_objects=tmp_path / "objects_val.json",
    )
    pipeline.pretrain(given, without_warmup)
    assert "Images: 3; true objects:" in capsys.readouterr().out
    file = tmp_path / "out/mask_ap.json"
    values = json.loads(file.read_text())
    assert values["averages"].keys() >= {"AP", "AP50", "AP75", "APs", "APm", "APl"}
    assert "| class | AP |" in file.with_suffix(".md").read_text()
    truth = read_instances(tmp_path / "objects_val.json")
    alone = instances.measure(tmp_path / "out" / pretrain.FOLDER, tmp_path / "val", truth, device="cpu")
    assert values["averages"] == json.loads(alone.tables().json())["averages"]

    before = file.stat().st_mtime_ns
    pipeline.pretrain(given, without_warmup)
    assert file.stat().st_mtime_ns == before
    write_coco(tmp_path, "val", seed=5, count=2, size=SIZE)
    pipeline.pretrain(given, without_warmup)
    assert json.loads(file.read_text())["images"] == 2


def test_bad_held_out_data_is_found_out_before_training(
    data: Path, tmp_path: Path, without_warmup: Recipe
) -> None:
    (tmp_path / "objects.json").write_text("{}")
    given = replace(
        inputs(data, tmp_path / "out"), val_images=data / "train", val_objects=tmp_path / "objects.json"
    )
    with pytest.raises(InputError, match=r"objects\.json: expected a list `images`"):
        pretrain.run(given, without_warmup)
    with pytest.raises(ConfigError, match=r"--val-images: expected a file or folder, found nothing at"):
        pretrain.run(replace(given, val_images=tmp_path / "nowhere"), without_warmup)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="--val-images is given without --val-objects: mask AP needs both"):
        replace(given, val_objects=None)


# ---------------------------------------------------------------------- the model on disk


@pytest.fixture
def pixels(data: Path) -> torch.Tensor:
    return normalize_images(torch.from_numpy(load_image(data / "train/000000.png"))[None])


@torch.no_grad()
def test_transformers_loads_the_model(straight: Path, pixels: torch.Tensor) -> None:
    theirs: Any = Mask2FormerForUniversalSegmentation.from_pretrained(straight / pretrain.FOLDER)
    ours = PartMask2Former.from_pretrained(straight / pretrain.FOLDER)
    predicted, output = theirs(pixels), ours(pixels)
    torch.testing.assert_close(mask_logits(output), predicted.masks_queries_logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        ours.class_logits(output)[0][-1, 0], predicted.class_queries_logits[0], rtol=1e-3, atol=1e-3
    )
    assert list(theirs.config.id2label.values()) == list(ours.info.class_names)


def test_half_precision_weights_predict_nearly_the_same(
    data: Path, tmp_path: Path, straight: Path, pixels: torch.Tensor
) -> None:
    folder = pretrain.run(inputs(data, tmp_path), recipe(data, half_precision_weights=True))
    full, half = (one / "model.safetensors" for one in (straight / pretrain.FOLDER, folder))
    assert half.stat().st_size < 0.55 * full.stat().st_size
    stored, exact = load_file(half), load_file(full)
    for name, value in exact.items():
        wanted = value.half() if value.is_floating_point() else value
        assert torch.equal(stored[name], wanted), name
    models = [PartMask2Former.from_pretrained(one.parent) for one in (full, half)]
    assert {value.dtype for value in models[1].parameters()} == {torch.float32}
    with torch.no_grad():
        logits = [mask_logits(model(pixels)) for model in models]
    assert (logits[0] - logits[1]).abs().max() < 0.02 * logits[0].abs().max()


# ---------------------------------------------------------------------- what can't be learned


def test_objects_may_be_too_small(data: Path, tmp_path: Path) -> None:
    rows = pretrain.read_objects(inputs(data, tmp_path))
    found = [one for row in read_rows(rows, ObjectRow) for one in row.objects]
    median = sorted(one.area for one in found)[len(found) // 2] / SIZE**2
    names, images = pretrain.object_images(rows, replace(CONFIG, min_object_area=median))
    kept = sum(len(image.masks) for image in images)
    assert kept == sum(one.area >= median * SIZE**2 for one in found) < len(found)
    assert set(names) == {one.category for one in found}


def test_nothing_to_learn_is_found_out_before_the_warm_up(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected images with masks to learn, found none"):
        pretrain.run(inputs(data, tmp_path), recipe(data, min_object_area=1.0))
    assert not (tmp_path / "encoder_warmup").exists()


def test_a_torn_image_is_not_read(data: Path, tmp_path: Path, without_warmup: Recipe) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in (data / "train").iterdir():
        (images / path.name).write_bytes(path.read_bytes()[: 900 if path.stem == "000000" else None])
    settings = replace(without_warmup, pretrain=replace(without_warmup.pretrain, steps=4, batch_size=3))
    pretrain.run(replace(inputs(data, tmp_path / "out"), images=images), settings)
    rows = {row.file_name: row.status for row in read_rows(tmp_path / "out" / DATA, ObjectRow)}
    assert rows.pop("000000.png") == "rejected"
    assert set(rows.values()) == {"ok"}


@pytest.mark.parametrize("name", ["smal", "nobody/nothing"])
def test_an_unknown_backbone_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"^{name}: expected a "):
        pretrain.run(inputs(data, tmp_path), recipe(data, backbone=name))


def test_a_missing_file_of_names_is_refused(data: Path, tmp_path: Path) -> None:
    warmup = replace(WARMUP, objects=str(tmp_path / "none.json"))
    with pytest.raises(
        ConfigError, match=r"^pretrain\.warmup\.objects: expected .* found none at .*none\.json"
    ):
        pretrain.run(inputs(data, tmp_path), recipe(data, warmup=warmup))


def test_an_impossible_width_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^pretrain\.hidden_dim: expected a multiple of 32 .* found 48"):
        replace(CONFIG, hidden_dim=48)


# ---------------------------------------------------------------------- backbones and processes


def test_a_directory_s_backbone_is_the_start_and_part_of_what_the_run_depends_on(
    data: Path, tmp_path: Path, without_warmup: Recipe
) -> None:
    def save_backbone(seed: int) -> ResNetModel:
        torch.manual_seed(seed)
        backbone = ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic")
        )
        backbone.save_pretrained(tmp_path / "backbone")
        return backbone

    backbone = save_backbone(1)
    settings = replace(without_warmup.pretrain, backbone=str(tmp_path / "backbone"))
    found = new_model(settings).model.pixel_level_module.encoder.state_dict()
    assert all(torch.equal(found[name], value) for name, value in backbone.state_dict().items())

    pretrain.run(inputs(data, tmp_path / "out"), replace(without_warmup, pretrain=settings))
    save_backbone(2)
    with pytest.raises(SettingsChanged, match="backbone_files: was"):
        pretrain.run(inputs(data, tmp_path / "out"), replace(without_warmup, pretrain=settings))


@pytest.fixture
def address() -> dict[str, str]:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    return {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}


@pytest.mark.long
def test_two_processes_share_a_run(data: Path, tmp_path: Path, address: dict[str, str]) -> None:
    """From nothing: one of them finds the objects, both learn them."""
    program = (
        "import sys; from pathlib import Path; from partdistillation.config import from_yaml, Inputs, Recipe;"
        "from partdistillation.stages import pretrain; out = Path(sys.argv[1]);"
        "pretrain.run(*from_yaml(out / 'config.yaml', Inputs(out=out, device='cpu'), Recipe()))"
    )
    save_settings(inputs(data, tmp_path / "out"), recipe(data))
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    running = [
        subprocess.Popen(command, env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [one.wait(240) for one in running] == [0, 0]
    assert PartMask2Former.from_pretrained(tmp_path / "out" / pretrain.FOLDER).info.image_size == SIZE
