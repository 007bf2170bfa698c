"""Baseline: contrastive reconstruction, a network an object class (supplement, section 3).

Choudhury, Laina, Rupprecht, Vedaldi, "Unsupervised Part Discovery from Contrastive Reconstruction" (NeurIPS
2021), written from what the two papers say of it, without their code. A DeepLab head on the run's encoder
says of each pixel of an object which of K parts it belongs to. What it minimises
(`functional/part_consistency.py`): the variance of colours in a part (visual consistency) and of a frozen
network's features (semantic consistency), the divergence between the parts of an image and of the same image
deformed by a thin-plate spline and recoloured (equivariance), and a contrastive loss between the parts' mean
features in different images.

What the papers leave open, or we couldn't follow, and what is done here:

- The foreground is stage 1's object mask, in training and after (there: masks that come with the images). It
  is taken as exact, so the background is a channel whose probability is 1 beside the mask and 0 inside, and
  a softmax over the K parts shares out the rest: no fifth loss and weight.
- An example is one object, in a square 1.2 times as large as its box, resized to `image_size`: images here
  show several objects, theirs one. At 640 too a square is learned, not the whole image.
- The frozen network is the encoder as it was, its res3 and res4 as in stage 2, concatenated and scaled to
  unit length; the parts' masks are averaged to its map's size. The trained network starts from the same
  weights; its norms' statistics stay fixed, nothing is dropped.
- DeepLab's head (version 2) is a sum of 3 x 3 convolutions with rates 6, 12, 18 and 24 on maps of stride 8.
  Hierarchical encoders go to stride 32: res4 and res5 are upsampled to res3's size and all three are read.
  Each channel is first standardised over the square. Without that a step moves all of a part's logits
  together, as channels have means of one sign, and one part soon takes every object whole.
- The weights go with some scale of each loss. Here both consistencies are sums over pixels (of the image with
  RGB in 0..1, and of the frozen network's map), equivariance a mean over the object's pixels, the contrast a
  mean over pairs of parts. Were the first two means, the published weights would leave nothing of them; so,
  on PartShapes' cars after 40 steps, the four terms are 10,200, 90, 730 and 5,300.
- Equivariance is KL(p, q) + KL(q, p), with gradients through both images. A spline goes through 5 x 5 points:
  a random rotation, zoom and shift, and noise on each point (`samples.py` has the ranges). Colours change in
  brightness, contrast, saturation and white balance. The other losses see the undeformed image alone.
- The contrast is InfoNCE with cosine similarity and temperature .1 over the images of a batch.
- Besides the learning rate only AdamW is said: weight decay .05, a constant rate after 10 steps of warm-up,
  gradients clipped to norm 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from partdistillation.baselines import FOLDER
from partdistillation.baselines.contrastive.labelling import label
from partdistillation.baselines.contrastive.network import MODEL, ContrastiveNet, class_folder
from partdistillation.baselines.contrastive.objective import FROZEN_LEVELS, Consistency
from partdistillation.baselines.contrastive.samples import ObjectPairs
from partdistillation.config import ContrastiveConfig, Inputs, Recipe, TrainingConfig
from partdistillation.data.object_views import ObjectCrop
from partdistillation.errors import InputError
from partdistillation.models.devices import choose_device
from partdistillation.models.encoder import Encoder
from partdistillation.models.sources import pinned, resolve
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import objects
from partdistillation.training.loop import Run, is_finished, train

__all__ = ["NAME", "PARTS", "label", "learn", "objects_by_class", "run"]

NAME = "contrastive"
PARTS = "parts"
"""In the baseline's folder: the parts of the run's own objects."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/baselines/contrastive`: a network an object class, then the parts of the run's own objects.

    Returns the folder. Run again to go on.

    Raises:
        InputError: stage 1 has found no objects.
        SettingsChanged: a network was trained, or begun, with other settings or from other objects.
    """
    folder = inputs.out / FOLDER / NAME
    objects.require_unchanged(inputs)
    for category, crops in objects_by_class(inputs.out / objects.FOLDER).items():
        learn(category, crops, folder, inputs, recipe)
    label(inputs, folder, folder / PARTS)
    return folder


def objects_by_class(objects_dir: Path) -> dict[str, tuple[ObjectCrop, ...]]:
    """All objects of each class, classes by name.

    Raises:
        InputError: there are none.
    """
    crops: defaultdict[str, list[ObjectCrop]] = defaultdict(list)
    for row in read_rows(objects_dir, ObjectRow):
        for instance in row.objects:
            crop = ObjectCrop(row.file_name, row.height, row.width, instance.rle, 0)
            crops[instance.category].append(crop)
    if not crops:
        raise InputError(f"expected objects in {objects_dir}, found none: every image was rejected")
    return {category: tuple(crops[category]) for category in sorted(crops)}


def learn(category: str, crops: Sequence[ObjectCrop], folder: Path, inputs: Inputs, recipe: Recipe) -> Path:
    """Train the network of one object class on its objects; return the network's folder."""
    config, source, place = recipe.contrastive, resolve(recipe.encoder), class_folder(folder, category)
    depends: dict[str, Json] = {
        "category": category,
        "settings": config.fingerprint(),
        "encoder": [pinned(recipe.encoder), *map(contents_hash, source.files)],
        "objects": contents_hash(inputs.out / objects.FOLDER),
    }
    training = Run(place, f"{NAME} {place.name}", place / MODEL, depends)
    if is_finished(training):
        return training.model_dir
    device = choose_device(inputs.device)
    frozen = Encoder.from_pretrained(source.path, levels=FROZEN_LEVELS, device=device)
    network = ContrastiveNet.on_encoder(
        source.path, num_parts=config.num_parts, image_size=config.image_size, seed=config.seed
    ).to(device)
    return train(
        network,
        ObjectPairs(inputs.need("images"), crops, config.image_size),
        Consistency(network, frozen, config, device),
        _training_config(config),
        training,
        save=lambda path: network.save(path, category=category),
        device=device,
    )


def _training_config(config: ContrastiveConfig) -> TrainingConfig:
    return TrainingConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        schedule="constant",
        clip_norm=1.0,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        data_workers=config.data_workers,
        seed=config.seed,
    )
