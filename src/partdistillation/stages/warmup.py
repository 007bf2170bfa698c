"""Encoder warm-up before stage 0: stands in for ImageNet pretraining, where no pretrained backbone is used.

Two objectives on crops of single objects, at every level that stages read. Neither sees a part label.

- Classification of the features pooled inside the object's mask. A class is told by what its objects are
  made of, wherever that is in the mask; so the features of a pixel come to say what it is a piece of.
- Dense clustering: two views of an object, differently placed and coloured, must agree pixel by pixel on a
  prototype (SwAV's swapped prediction, Caron et al. 2020, on pixels as in PiCIE, Cho et al. 2021). The target
  is averaged over a small window, as pieces of objects are larger than pixels. Sinkhorn-Knopp keeps
  all prototypes in use.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from partdistillation.config import TrainingConfig, WarmupConfig
from partdistillation.data.images import load_image
from partdistillation.data.transforms import PADDING
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode
from partdistillation.manifest import Json
from partdistillation.models.encoder import normalize_images
from partdistillation.training import Run, train

LEVELS = (1, 2, 3)
"""Indices of res3, res4 and res5 among a backbone's four maps."""
WINDOWS = (5, 3, 1)
"""Side of the window over which the clustering's target is averaged, a level."""
TEMPERATURE = 0.1
SINKHORN_TEMPERATURE = 0.05
SINKHORN_STEPS = 3

MARGIN = 1.35
"""Side of a crop at zoom 1, relative to the object's longer side."""
ZOOM = (0.7, 1.8)
ROTATION = 0.4
SHIFT = 0.2
POINTS = 96
"""Pixels of an object that are compared between its views."""
CANDIDATES = 400

_MODEL = "model.safetensors"


@dataclass(frozen=True)
class ObjectCrop:
    """An object to learn from, as compact as its row on disk."""

    file_name: str
    height: int
    width: int
    rle: bytes
    label: int


class Views(NamedTuple):
    """Two views of an object."""

    images: UInt8[np.ndarray, "2 size size 3"]
    masks: Bool[np.ndarray, "2 size size"]
    points: Float[np.ndarray, "2 point 2"]
    """The same pixels of the object in both views, (x, y) in -1..1."""
    visible: Bool[np.ndarray, " point"]
    """Whether a pixel lies inside both views."""
    label: int


class ObjectViews:
    """The Samples of the warm-up."""

    def __init__(self, root: Path, crops: Sequence[ObjectCrop], size: int) -> None:
        if not crops:
            raise InputError("expected at least one object to warm the encoder up with, found none")
        self.root, self.crops, self.size = root, crops, size

    def __len__(self) -> int:
        return len(self.crops)

    def example(self, index: int, rng: np.random.Generator) -> Views:
        """Two views of the object at `index`, each placed and coloured by chance."""
        crop = self.crops[index]
        image = load_image(self.root / crop.file_name)
        mask = decode(crop.rle, crop.height, crop.width)
        placements = [_draw_placement(mask, rng) for _ in range(2)]
        images, masks = zip(*(_view(image, mask, one, self.size, rng) for one in placements), strict=True)
        points, visible = _common_points(mask, placements, rng)
        return Views(np.stack(images), np.stack(masks), points, visible, crop.label)


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
        """The sum over levels; views of one object stand next to each other in the batch."""
        images, masks, points, visible = (
            torch.from_numpy(np.stack(field)).to(self.device)
            for field in list(zip(*examples, strict=True))[:4]
        )
        labels = torch.tensor([one.label for one in examples], device=self.device).repeat_interleave(2)
        pixels = normalize_images(images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        maps = self.net.encoder(pixels).feature_maps
        inside = masks.flatten(0, 1)[:, None].float()
        classification = clustering = torch.zeros((), device=self.device)
        correct = 0.0
        for index, level in enumerate(LEVELS):
            small = functional.interpolate(inside, maps[level].shape[-2:], mode="area")
            if self.config.classification_weight:
                logits = self.net.classifiers[index](_pooled(maps[level], small))
                classification = classification + functional.cross_entropy(logits, labels)
                correct = (logits.argmax(dim=1) == labels).float().mean()
            if self.config.clustering_weight:
                prototypes = self.net.prototypes[index]
                clustering = clustering + clustering_loss(
                    maps[level], small, prototypes, points, visible, window=WINDOWS[index]
                )
        total = (
            self.config.classification_weight * classification + self.config.clustering_weight * clustering
        )
        return total, {"classification": classification, "clustering": clustering, "accuracy": correct}


def run(
    encoder: nn.Module,
    channels: Sequence[int],
    root: Path,
    crops: Sequence[ObjectCrop],
    num_classes: int,
    config: WarmupConfig,
    out: Path,
    *,
    depends_on: Mapping[str, Json],
    device: torch.device,
) -> None:
    """Warm `encoder` up in place. Its weights are kept in `out/encoder_warmup`, so that it is done once."""
    training = TrainingConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        schedule="cosine",
        warmup_steps=min(50, config.steps),
        clip_norm=1.0,
        image_size=config.image_size,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        net = WarmupNet(encoder, channels, num_classes, config.prototypes).to(device)
    folder = train(
        net,
        ObjectViews(root, crops, config.image_size),
        WarmupObjective(net, config, device),
        training,
        Run(out, "encoder warm-up", out / "encoder_warmup", depends_on),
        save=lambda path: _save(net, path),
        device=device,
    )
    encoder.load_state_dict(load_file(folder / _MODEL))


def _save(net: WarmupNet, path: Path) -> None:
    path.mkdir(parents=True)
    state = {name: value.contiguous() for name, value in net.encoder.state_dict().items()}
    save_file(state, path / _MODEL)


# ---------------------------------------------------------------------- losses


def _pooled(
    features: Float[Tensor, "image channel h w"], inside: Float[Tensor, "image 1 h w"]
) -> Float[Tensor, "image channel"]:
    """Mean of the features over the object; `inside` is each pixel's share of it."""
    return (features * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1e-3)


def clustering_loss(
    features: Float[Tensor, "view channel h w"],
    inside: Float[Tensor, "view 1 h w"],
    prototypes: Float[Tensor, "prototype channel"],
    points: Float[Tensor, "object 2 point 2"],
    visible: Bool[Tensor, "object point"],
    *,
    window: int,
) -> Float[Tensor, ""]:
    """Swapped prediction: each view's prototype at a pixel, predicted from the other view's features."""
    normal = functional.normalize(features, dim=1)
    scores = torch.einsum("vchw,pc->vphw", normal, functional.normalize(prototypes, dim=1))
    with torch.no_grad():
        targets = _window_mean(scores * inside, window) / _window_mean(inside, window).clamp(min=1e-3)
    at_points, targets = (_at(maps, points)[:, visible] for maps in (scores, targets))
    with torch.no_grad():
        codes = torch.stack([sinkhorn(one) for one in targets])
    predictions = (at_points / TEMPERATURE).log_softmax(dim=-1)
    if not visible.any():
        return predictions.sum()
    return -(codes.flip(0) * predictions).sum(dim=-1).mean()


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "point prototype"]) -> Float[Tensor, "point prototype"]:
    """Soft assignment of points to prototypes that uses every prototype about equally (rows sum to 1)."""
    codes = ((scores - scores.max()) / SINKHORN_TEMPERATURE).exp() if scores.numel() else scores
    for _ in range(SINKHORN_STEPS):
        codes = functional.normalize(codes, p=1, dim=0)
        codes = functional.normalize(codes, p=1, dim=1)
    return codes


def _window_mean(maps: Tensor, window: int) -> Tensor:
    return functional.avg_pool2d(maps, window, stride=1, padding=window // 2) if window > 1 else maps


def _at(
    maps: Float[Tensor, "view prototype h w"], points: Float[Tensor, "object 2 point 2"]
) -> Float[Tensor, "2 object point prototype"]:
    """Bilinear values at each object's points, in each of its views."""
    values = functional.grid_sample(maps, points.flatten(0, 1)[:, :, None], align_corners=False)[..., 0]
    by_view = values.view(-1, 2, *values.shape[1:])
    return by_view.permute(1, 0, 3, 2)


# ---------------------------------------------------------------------- views


@dataclass(frozen=True)
class _Placement:
    """From a view's (x, y) in -1..1 to the image's pixels: `matrix @ (x, y) + centre`."""

    matrix: Float[np.ndarray, "2 2"]
    centre: Float[np.ndarray, "2"]


def _draw_placement(mask: Bool[np.ndarray, "height width"], rng: np.random.Generator) -> _Placement:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    side = float((high - low).max())
    zoom = math.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1])))
    half = side * MARGIN / 2 / zoom
    angle = rng.uniform(-ROTATION, ROTATION)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = (low + high) / 2 + rng.uniform(-SHIFT, SHIFT, 2) * side
    return _Placement(rotation @ np.diag([mirror, 1.0]) * half, centre)


def _view(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    placement: _Placement,
    size: int,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "size size 3"], Bool[np.ndarray, "size size"]]:
    """Cut a view out of the image, bilinear, and change its colours; the mask goes along."""
    matrix = placement.matrix * 2 / size
    # Bilinear resampling reads 2 x 2 pixels: what a view shrinks further is averaged first.
    factor = max(int(np.sqrt(abs(np.linalg.det(matrix)))), 1)
    offset = placement.centre - placement.matrix.sum(axis=1)
    terms = np.column_stack([matrix, offset])
    picture = Image.fromarray(image).reduce(factor)
    pixels = picture.transform(
        (size, size),
        Image.Transform.AFFINE,
        list((terms / factor).flat),
        Image.Resampling.BILINEAR,
        fillcolor=(PADDING,) * 3,
    )
    inside = Image.fromarray(mask).transform((size, size), Image.Transform.AFFINE, list(terms.flat))
    return _coloured(np.asarray(pixels), rng), np.asarray(inside)


def _coloured(
    image: UInt8[np.ndarray, "size size 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "size size 3"]:
    """Brightness, contrast, saturation and white balance by chance."""
    pixels = image.astype(np.float32) * np.float32(rng.uniform(0.6, 1.4))
    mean = pixels.mean()
    pixels = (pixels - mean) * np.float32(rng.uniform(0.6, 1.4)) + mean
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(rng.uniform(0.0, 1.5))
    pixels *= rng.uniform(0.8, 1.2, 3).astype(np.float32)
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def _common_points(
    mask: Bool[np.ndarray, "height width"], placements: Sequence[_Placement], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "2 point 2"], Bool[np.ndarray, " point"]]:
    """Pixels of the object, drawn by chance, those that lie in both views first."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=CANDIDATES)
    pixels = np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5
    points = np.stack([(pixels - one.centre) @ np.linalg.inv(one.matrix).T for one in placements])
    visible = (np.abs(points) < 1).all(axis=(0, 2))
    first = np.argsort(~visible, kind="stable")[:POINTS]
    return points[:, first].astype(np.float32), visible[first]
