"""Encoder warm-up before stage 0: stands in for ImageNet pretraining, where no pretrained backbone is used.

Two objectives on crops of single objects, at every level that stages read. Neither sees a part label.

- Classification of the features pooled inside the object's mask. A class is told by what its objects are
  made of, wherever that is in the mask; so the features of a pixel come to say what it is a piece of.
- Dense clustering: two views of an object, differently placed and coloured, must agree pixel by pixel on a
  prototype (`functional.swapped_prediction`). The target is averaged over a small window, as pieces of
  objects are larger than pixels. Sinkhorn-Knopp keeps all prototypes in use.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from partdistillation.config import TrainingConfig, WarmupConfig
from partdistillation.data.coco import read_instances
from partdistillation.data.object_views import ObjectCrop, ObjectViews, Views
from partdistillation.errors import InputError
from partdistillation.functional.swapped_prediction import clustering_loss, pooled
from partdistillation.models.encoder import normalize_images
from partdistillation.objects.annotations import annotated_objects
from partdistillation.runs.atomic import make_folder
from partdistillation.runs.digests import require_whole
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.settings import at_home
from partdistillation.training.loop import Run, train

FOLDER = "encoder_warmup"
NAME = "encoder warm-up"
LEVELS = (1, 2, 3)
"""Indices of res3, res4 and res5 among a backbone's four maps."""
WINDOWS = (5, 3, 1)
"""Side of the window over which the clustering's target is averaged, a level."""

_MODEL = "model.safetensors"


class Crops(NamedTuple):
    """What the warm-up learns from."""

    objects: tuple[ObjectCrop, ...]
    num_classes: int


class WarmupNet(nn.Module):
    """A backbone with a linear classifier and prototypes at each level."""

    def __init__(
        self, encoder: nn.Module, channels: Sequence[int], num_classes: int, prototypes: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        widths = [channels[level] for level in LEVELS]
        self.classifiers = nn.ModuleList([nn.Linear(width, num_classes) for width in widths])
        self.prototypes = nn.ParameterList([nn.Parameter(torch.randn(prototypes, width)) for width in widths])


class WarmupObjective:
    """The Objective of the warm-up."""

    def __init__(self, net: WarmupNet, config: WarmupConfig, device: torch.device) -> None:
        self.net, self.config, self.device = net, config, device

    def __call__(
        self, examples: Sequence[Views], _: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The sum over levels, and the accuracy of the last one's classifier.

        Views of one object stand next to each other in the batch.
        """
        images, masks, points, visible = (
            torch.from_numpy(np.stack(field)).to(self.device)
            for field in list(zip(*examples, strict=True))[:4]
        )
        labels = torch.tensor([views.label for views in examples], device=self.device).repeat_interleave(2)
        pixels = normalize_images(images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        maps = self.net.encoder(pixels).feature_maps
        inside = masks.flatten(0, 1)[:, None].float()
        classification = clustering = torch.zeros((), device=self.device)
        accuracy: Tensor | float = 0.0
        for index, level in enumerate(LEVELS):
            small = functional.interpolate(inside, maps[level].shape[-2:], mode="area")
            if self.config.classification_weight:
                logits = self.net.classifiers[index](pooled(maps[level], small))
                classification = classification + functional.cross_entropy(logits, labels)
                accuracy = (logits.argmax(dim=1) == labels).float().mean()
            if self.config.clustering_weight:
                prototypes = self.net.prototypes[index]
                clustering = clustering + clustering_loss(
                    maps[level], small, prototypes, points, visible, window=WINDOWS[index]
                )
        total = (
            self.config.classification_weight * classification + self.config.clustering_weight * clustering
        )
        return total, {"classification": classification, "clustering": clustering, "accuracy": accuracy}


def run(
    encoder: nn.Module,
    channels: Sequence[int],
    root: Path,
    crops: Crops,
    config: WarmupConfig,
    training: Run,
    *,
    device: torch.device,
    data_workers: int = 0,
) -> None:
    """Warm `encoder` up in place, or load what an earlier call has made of it.

    Its weights are kept in `training.model_dir`, so that it is done once. `channels` are those of the
    encoder's four maps, `root` is the folder of the crops' images; `data_workers` processes read them.

    Raises:
        InputError: there is no object to learn from.
        PartDistillationError: as `training.loop.train`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        net = WarmupNet(encoder, channels, crops.num_classes, config.prototypes).to(device)
    folder = train(
        net,
        ObjectViews(root, crops.objects, config.image_size),
        WarmupObjective(net, config, device),
        _training_config(config, data_workers),
        training,
        save=lambda path: _save(net, path),
        device=device,
    )
    require_whole(folder)
    encoder.load_state_dict(load_file(folder / _MODEL))


def object_crops(objects_dir: Path, root: Path, config: WarmupConfig) -> Crops:
    """The objects that are large enough, by class; those of `config.objects`, where that names others.

    Raises:
        InputError: that file can't be read, or lacks an image.
    """
    rows = [row for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    if config.objects:
        rows = _relabelled(rows, root, at_home(Path(config.objects)))
    names = sorted({instance.category for row in rows for instance in row.objects})
    index = {name: place for place, name in enumerate(names)}
    crops = tuple(
        ObjectCrop(row.file_name, row.height, row.width, instance.rle, index[instance.category])
        for row in rows
        for instance in row.objects
        if _longer_side(instance.box) >= config.min_side
    )
    return Crops(crops, len(names))


def _longer_side(box: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def _relabelled(rows: Sequence[ObjectRow], root: Path, path: Path) -> list[ObjectRow]:
    """The objects of the same images as another COCO file names them."""
    dataset = read_instances(path)
    images = {image.file_name: image for image in dataset.inputs(root)}
    wanted = {row.file_name for row in rows}
    if missing := sorted(wanted - images.keys()):
        listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise InputError(
            f"{path}: expected an entry for each of the {len(wanted)} images with objects, found none for "
            f"{listed}; is it of another split?"
        )
    relabelled = (
        annotated_objects(dataset, images[name], max_objects=None, min_area=0.0) for name in sorted(wanted)
    )
    return [row for row in relabelled if row.status == "ok"]


def _training_config(config: WarmupConfig, data_workers: int) -> TrainingConfig:
    return TrainingConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        schedule="cosine",
        warmup_steps=min(50, config.steps),
        clip_norm=1.0,
        image_size=config.image_size,
        checkpoint_every=config.checkpoint_every,
        data_workers=data_workers,
        seed=config.seed,
    )


def _save(net: WarmupNet, path: Path) -> None:
    make_folder(path)
    state = {name: value.contiguous() for name, value in net.encoder.state_dict().items()}
    save_file(state, path / _MODEL)
