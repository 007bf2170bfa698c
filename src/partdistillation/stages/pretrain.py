"""Stage 0: train the instance segmentation model, where no published one is used (supplement, section 2).

Mask2Former on object masks and classes only; a part label is never read. As in its own training, crowd
regions aren't objects, and an image without objects isn't learned from; one whose objects all fall outside
the crop is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import Mask2FormerConfig

from partdistillation.config import (
    LITE0,
    ArchitectureConfig,
    BackboneConfig,
    Inputs,
    ObjectsConfig,
    PretrainConfig,
    Recipe,
)
from partdistillation.data.coco import read_instances
from partdistillation.data.examples import LabelledImage, LabelledImages, LabelledMask
from partdistillation.data.paths import is_folder
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models.backbones import SMALL, backbone_config, load_backbone
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import PUBLISHED_IMAGE_SIZE, ModelInfo, read_config, read_info
from partdistillation.models.sources import pinned, resolve
from partdistillation.models.vision_transformers import grid_of
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.settings import at_home
from partdistillation.stages import objects, warmup
from partdistillation.training.loop import Run, is_finished, train
from partdistillation.training.objective import SetPrediction
from partdistillation.training.parallel import processes, rank, wait_for_all

FOLDER = "pretrained_model"
STAGE = Stage("pretrain", folders=(FOLDER,), sections=("pretrain",))
DATA = "pretrain_data"
"""What is learned: a folder of objects as stage 1's, but with all of an image's."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/pretrain_data`, if it isn't there, and `out/pretrained_model`.

    Raises:
        InputError: no object is large enough to be learned, or the held-out data can't be used.
        CheckpointError: the backbone can't be loaded.
        SettingsChanged: the model was trained, or begun, with other settings or from other objects.
    """
    device = choose_device(inputs.device)
    if inputs.val_objects is not None:  # read now: a bad file must not be found out after days of training
        inputs.need("val_images")
        read_instances(inputs.need("val_objects"))
    with processes(device):
        if rank() == 0:
            read_objects(inputs)
        wait_for_all()
        return _learn_objects(inputs, recipe.pretrain, device)


def read_objects(inputs: Inputs) -> Path:
    """Write `out/pretrain_data/objects`, from `--objects`: every object, however many an image has.

    Of what a model finds stage 1 keeps the best ten of an image; the others would be learned as background.
    """
    source: Literal["annotations", "masks"] = "masks" if is_folder(inputs.need("objects")) else "annotations"
    config = ObjectsConfig(source=source)
    read = replace(inputs, images=inputs.need("images"), objects=inputs.need("objects"))
    return objects.run(replace(read, out=inputs.out / DATA), Recipe(objects=config))


def _learn_objects(inputs: Inputs, config: PretrainConfig, device: torch.device) -> Path:
    objects_dir, root = inputs.out / DATA / objects.FOLDER, inputs.need("images")
    names, images = object_images(objects_dir, config)
    config = config.for_images(len(images))
    contents = _contents(objects_dir, config)
    training = Run(
        inputs.out, "pretrain", inputs.out / FOLDER, {"settings": config.fingerprint(), **contents}
    )
    if is_finished(training):
        return training.model_dir
    samples = LabelledImages(root, images, config)
    model = new_model(config, names, seed=config.seed, image_size=config.image_size)
    if config.warmup.steps:
        _warm_up(model, inputs, objects_dir, config, contents, device)
    model.set_frozen(config.freeze)
    model.to(device)
    return train(
        model,
        samples,
        SetPrediction(model, config, device),
        config,
        training,
        save=lambda path: _save(model, path, config),
        device=device,
    )


def object_images(objects_dir: Path, config: PretrainConfig) -> tuple[tuple[str, ...], list[LabelledImage]]:
    """The classes that occur, by name, and the training set: every object that is large enough."""
    rows = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    names = tuple(sorted({instance.category for row in rows for instance in row.objects}))
    index = {name: place for place, name in enumerate(names)}
    images = []
    for row in rows:
        masks = tuple(
            LabelledMask(instance.rle, index[instance.category])
            for instance in row.objects
            if instance.area >= config.min_object_area * row.height * row.width
        )
        if masks:
            images.append(LabelledImage(row.file_name, row.height, row.width, masks))
    return names, images


def new_model(
    config: ArchitectureConfig, names: Sequence[str], *, seed: int, image_size: int
) -> PartMask2Former:
    """A Mask2Former with the settings' backbone and random weights elsewhere.

    Raises:
        CheckpointError: the backbone can't be loaded, or is a plain ViT, whose maps are of one scale.
    """
    architecture = Mask2FormerConfig(
        backbone_config=trainable_backbone(config.backbone, drop_path=config.drop_path),
        feature_size=config.hidden_dim,
        mask_feature_size=config.hidden_dim,
        hidden_dim=config.hidden_dim,
        encoder_feedforward_dim=4 * config.hidden_dim,
        dim_feedforward=8 * config.hidden_dim,
        encoder_layers=config.pixel_decoder_layers,
        decoder_layers=config.decoder_layers + 1,  # transformers counts the prediction before the first layer
        num_queries=config.num_queries,
    )
    info = ModelInfo(class_names=tuple(names), image_size=image_size, frozen_norms=config.backbone != SMALL)
    model = PartMask2Former.create(architecture, info, seed=seed)
    if config.backbone != SMALL:
        pretrained = load_backbone(config.backbone)
        model.model.pixel_level_module.encoder.load_state_dict(pretrained.state_dict())
    return model


def is_backbone(encoder: str) -> bool:
    """Whether an encoder is a plain backbone, around which stage 3 builds a network.

    Raises:
        CheckpointError: it can't be read, or is neither that nor a Mask2Former.
    """
    path = resolve(encoder).path
    if read_config(path).get("model_type") == "mask2former":
        read_info(path)
        return False
    trainable_backbone(encoder)
    return True


def trainable_backbone(name: str, *, drop_path: float | None = None) -> Any:
    """The configuration of a backbone that a Mask2Former can be built on.

    Raises:
        CheckpointError: it can't be read, or is no backbone of four scales.
    """
    config = backbone_config(name, drop_path=drop_path)
    if grid_of(config) is not None:
        raise CheckpointError(
            f"{name}: expected an instance segmentation model (Mask2Former) or a backbone of four scales, as "
            f"stage 3 trains it; found a plain ViT ({config.model_type}), whose maps have one scale. It can "
            f"group pixels while another is trained: --segments.encoders {name} --encoder {LITE0}"
        )
    return config


def starting_network(encoder: str, architecture: ArchitectureConfig, *, seed: int) -> PartMask2Former:
    """The network that stage 3 goes on training: the encoder's, or a new one around a plain backbone.

    Raises:
        CheckpointError: it can't be loaded.
    """
    if not is_backbone(encoder):
        return PartMask2Former.from_pretrained(resolve(encoder).path)
    return new_model(
        replace(architecture, backbone=encoder), ("object",), seed=seed, image_size=PUBLISHED_IMAGE_SIZE
    )


def start_of(encoder: str, architecture: ArchitectureConfig) -> dict[str, Json]:
    """What a fingerprint says of `starting_network`."""
    depends: dict[str, Json] = {"encoder": [pinned(encoder), *map(contents_hash, resolve(encoder).files)]}
    if is_backbone(encoder):
        depends["architecture"] = replace(architecture, backbone=pinned(encoder)).fingerprint()
    return depends


def _contents(objects_dir: Path, config: PretrainConfig) -> dict[str, Json]:
    """Hashes of what is learned from."""
    contents: dict[str, Json] = {"objects": contents_hash(objects_dir)}
    if config.backbone != SMALL:
        files = resolve(config.backbone).files
        contents["backbone_files"] = list(map(contents_hash, files)) or pinned(config.backbone)
    if config.warmup.objects:
        relabelled = at_home(Path(config.warmup.objects))
        if not relabelled.is_file():
            raise ConfigError(
                f"pretrain.warmup.objects: expected a COCO .json file, found none at {relabelled}"
            )
        contents["warmup_objects"] = contents_hash(relabelled)
    return contents


def _warm_up(
    model: PartMask2Former,
    inputs: Inputs,
    objects_dir: Path,
    config: PretrainConfig,
    contents: Mapping[str, Json],
    device: torch.device,
) -> None:
    """The encoder's own training, in place. It depends on less than the whole: not on the masks' settings."""
    root, encoder = inputs.need("images"), model.model.pixel_level_module.encoder
    depends: dict[str, Json] = {
        "settings": config.warmup.fingerprint(),
        "backbone": config.part(BackboneConfig).fingerprint(),
        "model_seed": config.seed,
        **contents,
    }
    warmup.run(
        encoder,
        encoder.channels,
        root,
        warmup.object_crops(objects_dir, root, config.warmup),
        config.warmup,
        Run(inputs.out, warmup.NAME, inputs.out / warmup.FOLDER, depends),
        device=device,
        data_workers=config.data_workers,
    )


def _save(model: PartMask2Former, path: Path, config: PretrainConfig) -> None:
    model.save_pretrained(
        path,
        metadata={"stage": "pretrain", "steps": config.steps, "seed": config.seed},
        dtype=torch.float16 if config.half_precision_weights else torch.float32,
    )
