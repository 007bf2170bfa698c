"""Stage 0: train the instance segmentation model, where no published one is used (supplement, section 2).

Mask2Former on object masks and classes only; a part label is never read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoBackbone, AutoConfig, Mask2FormerConfig, ResNetConfig

from partdistillation.config import Inputs, PretrainConfig, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.data.examples import LabelledImage, LabelledImages, LabelledMask
from partdistillation.errors import CheckpointError, InputError
from partdistillation.manifest import Json
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.objective import SetPrediction
from partdistillation.objects.annotations import annotated_objects
from partdistillation.records import ObjectRow
from partdistillation.stages import objects, warmup
from partdistillation.stages.warmup import ObjectCrop
from partdistillation.store import contents_hash, read_rows
from partdistillation.training import Run, decisive, is_trained, processes, train

FOLDER = "pretrained_model"
SMALL = "small"
"""The backbone for small images and machines: a ResNet of 2.8 million weights, drawn at random."""
MANY_OBJECTS = 100
"""Objects learned an image; the stages after keep fewer."""

_AUTO: Any = AutoBackbone  # its methods are untyped


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/objects`, if it isn't there, and `out/pretrained_model`."""
    config, device = recipe.pretrain, choose_device(inputs.device)
    objects_dir = objects.run(inputs, recipe)
    depends: dict[str, Json] = {"settings": decisive(config), "objects": contents_hash(objects_dir)}
    if config.warmup.objects:
        depends["warmup_objects"] = contents_hash(Path(config.warmup.objects))
    training = Run(inputs.out, "pretrain", inputs.out / FOLDER, depends)
    if is_trained(training):
        return training.model_dir
    names, images = object_images(objects_dir, config)
    with processes(device):
        model = new_model(config, names)
        if config.warmup.steps:
            _warm_up(model, inputs, config, objects_dir, depends, device)
        model.set_frozen(config.freeze)
        model.to(device)
        return train(
            model,
            LabelledImages(inputs.need("images"), images, config),
            SetPrediction(model, config, device),
            config,
            training,
            save=lambda path: model.save_pretrained(
                path,
                metadata={"stage": "pretrain", "steps": config.steps, "seed": config.seed},
                dtype=torch.float16 if config.half_precision_weights else torch.float32,
            ),
            device=device,
        )


def object_images(objects_dir: Path, config: PretrainConfig) -> tuple[tuple[str, ...], list[LabelledImage]]:
    """The classes that occur, by name, and the training set: every object with its class."""
    rows = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    names = tuple(sorted({found.category for row in rows for found in row.objects}))
    index = {name: place for place, name in enumerate(names)}
    images = []
    for row in rows:
        masks = tuple(
            LabelledMask(found.rle, index[found.category])
            for found in row.objects
            if found.area >= config.min_object_area * row.height * row.width
        )
        if masks:
            images.append(LabelledImage(row.file_name, row.height, row.width, masks))
    return names, images


def new_model(config: PretrainConfig, names: Sequence[str]) -> PartMask2Former:
    """A Mask2Former with the settings' backbone and random weights elsewhere.

    Raises:
        CheckpointError: the backbone can't be loaded.
    """
    architecture = Mask2FormerConfig(
        backbone_config=_backbone_config(config.backbone),
        feature_size=config.hidden_dim,
        mask_feature_size=config.hidden_dim,
        hidden_dim=config.hidden_dim,
        encoder_feedforward_dim=4 * config.hidden_dim,
        dim_feedforward=8 * config.hidden_dim,
        encoder_layers=config.pixel_decoder_layers,
        decoder_layers=config.decoder_layers + 1,  # transformers counts the prediction before the first layer
        num_queries=config.num_queries,
    )
    info = ModelInfo(class_names=tuple(names), image_size=config.image_size)
    model = PartMask2Former.create(architecture, info, seed=config.seed)
    if config.backbone != SMALL:
        pretrained = _AUTO.from_pretrained(
            config.backbone, config=_backbone_config(config.backbone), use_safetensors=True
        )
        model.model.pixel_level_module.encoder.load_state_dict(pretrained.state_dict())
    return model


def _backbone_config(backbone: str) -> Any:
    if backbone == SMALL:
        small = ResNetConfig(
            embedding_size=32, hidden_sizes=[32, 64, 128, 256], depths=[2, 2, 2, 2], layer_type="basic"
        )
        small.out_features = small.stage_names[-4:]
        return small
    try:
        config = AutoConfig.from_pretrained(backbone)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"pretrain.backbone: expected a published backbone or a directory, found {backbone!r}: {error}"
        ) from error
    config.out_features = config.stage_names[-4:]
    return config


def _warm_up(
    model: PartMask2Former,
    inputs: Inputs,
    config: PretrainConfig,
    objects_dir: Path,
    depends: dict[str, Json],
    device: torch.device,
) -> None:
    rows = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    if config.warmup.objects:
        rows = _relabelled(rows, inputs.need("images"), Path(config.warmup.objects))
    names = sorted({found.category for row in rows for found in row.objects})
    crops = [
        ObjectCrop(row.file_name, row.height, row.width, found.rle, names.index(found.category))
        for row in rows
        for found in row.objects
        if max(found.box[2] - found.box[0], found.box[3] - found.box[1]) >= config.warmup.min_side
    ]
    encoder = model.model.pixel_level_module.encoder
    warmup.run(
        encoder,
        encoder.channels,
        inputs.need("images"),
        crops,
        len(names),
        config.warmup,
        inputs.out,
        depends_on={key: value for key, value in depends.items() if key != "settings"}
        | {"settings": config.warmup.to_dict(), "backbone": config.backbone, "model_seed": config.seed},
        device=device,
    )


def _relabelled(rows: Sequence[ObjectRow], root: Path, path: Path) -> list[ObjectRow]:
    """The objects of the same images as another COCO file names them."""
    dataset = read_instances(path)
    images = {image.file_name: image for image in dataset.inputs(root)}
    wanted = {row.file_name for row in rows}
    if not wanted <= images.keys():
        missing = sorted(wanted - images.keys())[:3]
        raise InputError(f"{path}: expected all of the training images, found none of {missing}")
    found = (
        annotated_objects(dataset, images[name], max_objects=MANY_OBJECTS, min_area=0.0)
        for name in sorted(wanted)
    )
    return [row for row in found if row.status == "ok"]
