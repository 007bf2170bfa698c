"""The whole network, from the authors' names to masks, against slow loops at several sizes.

The judge is Detic as its papers define it, in float64: Swin (Liu et al., 2021), FPN (Lin et al., 2017),
CenterNet2 (Zhou et al., 2021), Cascade R-CNN (Cai and Vasconcelos, 2018), RoIAlign and the mask head of Mask
R-CNN (He et al., 2017), Detic (Zhou et al., 2022).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from partdistillation.convert.detic import load_official_state_dict
from partdistillation.objects.detic.config import DeticConfig

from .detic import compute_steps, official_embeddings, official_shapes

CONFIG = DeticConfig(
    embed_dim=8,
    depths=(1, 2, 1, 2),
    num_heads=(1, 2, 2, 4),
    window_size=4,
    mlp_ratio=2.0,
    pyramid_channels=32,
    proposal_convs=2,
    fc_dims=(24, 16),
    embedding_dim=12,
    mask_convs=2,
    mask_channels=16,
)


Box = Sequence[float]


class Found(NamedTuple):
    """What is found in an image, with the proposals on the way."""

    proposals: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    final_boxes: np.ndarray
    masks: np.ndarray


class ByDefinition:
    """The network with weights under the authors' names."""

    def __init__(self, state: Mapping[str, Tensor], config: DeticConfig) -> None:
        self.state = {name: value.double() for name, value in state.items()}
        self.config = config

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> Found:
        height, width = image.shape[:2]
        levels = self.pyramid(image)
        proposals, scores = self.propose(levels)
        maps = [level[0].numpy() for level in levels[:3]]
        boxes, scores = self.cascade(maps, proposals, scores, (height, width))
        which, classes = np.nonzero(scores > self.config.score_threshold)
        values = scores[which, classes]
        kept = suppress(boxes[which], values, self.config.detection_nms, classes)[
            : self.config.max_detections
        ]
        detected = boxes[which[kept]]
        scale = np.array([size[1] / width, size[0] / height] * 2)
        final = clip(detected * scale, *size)
        small = self.mask_probabilities(maps, detected)
        has_area = ((final[:, 2:] - final[:, :2]) > 0).all(1)
        pasted = [paste(box, one, size) for box, one in zip(final[has_area], small[has_area], strict=True)]
        return Found(proposals, detected, values[kept], classes[kept], final[has_area], np.stack(pasted))

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.state[name + ".weight"], self.state[name + ".bias"]

    def pyramid(self, image: np.ndarray) -> list[Tensor]:
        pixels = torch.from_numpy(image / 255 - self.config.pixel_mean) / torch.tensor(self.config.pixel_std)
        height, width = image.shape[:2]
        batch = functional.pad(pixels.permute(2, 0, 1)[None], (0, -width % 32, 0, -height % 32))
        above: Tensor | None = None
        levels: list[Tensor] = []
        for number, features in zip((5, 4, 3), reversed(list(self.swin(batch))), strict=True):
            merged = functional.conv2d(features, *self.layer(f"backbone.fpn_lateral{number}"))
            if above is not None:
                merged = merged + above.repeat_interleave(2, 2).repeat_interleave(2, 3)
            above = merged
            levels.insert(
                0, functional.conv2d(merged, *self.layer(f"backbone.fpn_output{number}"), padding=1)
            )
        p6 = functional.conv2d(levels[2], *self.layer("backbone.top_block.p6"), stride=2, padding=1)
        p7 = functional.conv2d(p6.relu(), *self.layer("backbone.top_block.p7"), stride=2, padding=1)
        return [*levels, p6, p7]

    def swin(self, batch: Tensor) -> Iterator[Tensor]:
        prefix = "backbone.bottom_up."
        patch = self.config.patch_size
        cells = functional.conv2d(batch, *self.layer(prefix + "patch_embed.proj"), stride=patch)
        cells = self.norm(prefix + "patch_embed.norm", cells.permute(0, 2, 3, 1))
        for stage, (depth, heads) in enumerate(zip(self.config.depths, self.config.num_heads, strict=True)):
            for block in range(depth):
                name = f"{prefix}layers.{stage}.blocks.{block}."
                shift = block % 2 * (self.config.window_size // 2)
                cells = cells + self.attend(name, self.norm(name + "norm1", cells), heads, shift)
                hidden = functional.linear(self.norm(name + "norm2", cells), *self.layer(name + "mlp.fc1"))
                cells = cells + functional.linear(functional.gelu(hidden), *self.layer(name + "mlp.fc2"))
            if stage > 0:
                yield self.norm(f"{prefix}norm{stage}", cells).permute(0, 3, 1, 2)
            if stage < 3:
                name = f"{prefix}layers.{stage}.downsample."
                even = functional.pad(cells, (0, 0, 0, cells.shape[2] % 2, 0, cells.shape[1] % 2))
                corners = [even[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
                merged = self.norm(name + "norm", torch.cat(corners, dim=-1))
                cells = functional.linear(merged, self.state[name + "reduction.weight"])

    def norm(self, name: str, cells: Tensor) -> Tensor:
        return functional.layer_norm(cells, cells.shape[-1:], *self.layer(name))

    def attend(self, name: str, cells: Tensor, heads: int, shift: int) -> Tensor:
        side = self.config.window_size
        _, height, width, channels = cells.shape
        padded = functional.pad(cells, (0, 0, 0, -width % side, 0, -height % side))
        shifted = torch.roll(padded, (-shift, -shift), (1, 2))
        # cells that weren't neighbours before the roll don't see each other
        origin = torch.zeros(padded.shape[1:3], dtype=torch.long)
        if shift:
            origin[-shift:] += 1
            origin[:, -shift:] += 2
        places = [(row, column) for row in range(side) for column in range(side)]
        table = self.state[name + "attn.relative_position_bias_table"]
        bias = torch.stack(
            [
                table[(a - c + side - 1) * (2 * side - 1) + b - d + side - 1]
                for a, b in places
                for c, d in places
            ]
        ).reshape(side**2, side**2, heads)
        attended = torch.zeros_like(shifted)
        for top in range(0, padded.shape[1], side):
            for left in range(0, padded.shape[2], side):
                window = (slice(None), slice(top, top + side), slice(left, left + side))
                rows = shifted[window].reshape(side**2, channels)
                query, key, value = (
                    functional.linear(rows, *self.layer(name + "attn.qkv"))
                    .reshape(side**2, 3, heads, channels // heads)
                    .unbind(1)
                )
                logits = torch.einsum("ihc,jhc->ijh", query, key) / (channels // heads) ** 0.5 + bias
                known = origin[window[1:]].flatten()
                logits = torch.where((known[:, None] == known)[..., None], logits, -torch.inf)
                read = torch.einsum("ijh,jhc->ihc", logits.softmax(1), value).flatten(1)
                projected = functional.linear(read, *self.layer(name + "attn.proj"))
                attended[window] = projected.reshape(1, side, side, channels)
        return torch.roll(attended, (shift, shift), (1, 2))[:, :height, :width]

    def propose(self, levels: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        head = "proposal_generator.centernet_head."
        boxes: list[Box] = []
        scores: list[float] = []
        for index, level in enumerate(levels):
            tower, stride = level, 2 ** (index + 3)
            for conv in range(self.config.proposal_convs):
                tower = functional.conv2d(tower, *self.layer(f"{head}bbox_tower.{3 * conv}"), padding=1)
                norm = self.layer(f"{head}bbox_tower.{3 * conv + 1}")
                tower = functional.group_norm(tower, 32, *norm).relu()
            heat = functional.conv2d(tower, *self.layer(head + "agn_hm"), padding=1)[0, 0].sigmoid()
            scale = self.state[f"{head}scales.{index}.scale"]
            reach = (functional.conv2d(tower, *self.layer(head + "bbox_pred"), padding=1) * scale).relu()[0]
            found = []
            for row, column in (heat > self.config.heat_threshold).nonzero().tolist():
                x, y = column * stride + stride // 2, row * stride + stride // 2
                left, top, right, bottom = (reach[:, row, column] * stride).tolist()
                box = (x - left, y - top, max(x + right, x - left + 0.01), max(y + bottom, y - top + 0.01))
                found.append((math.sqrt(float(heat[row, column])), box))
            found = sorted(found, reverse=True)[: self.config.proposals_per_level]
            boxes += [box for _, box in found]
            scores += [score for score, _ in found]
        kept = suppress(np.array(boxes), np.array(scores), self.config.proposal_nms)[: self.config.proposals]
        return np.array(boxes)[kept], np.array(scores)[kept]

    def cascade(
        self,
        maps: Sequence[np.ndarray],
        boxes: np.ndarray,
        proposal_scores: np.ndarray,
        size: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The refined boxes, and their scores for each class."""
        probabilities: Any = 0
        for stage, weights in enumerate(self.config.delta_weights):
            rows = torch.from_numpy(pool(maps, boxes, self.config.box_resolution)).flatten(1)
            for index in range(1, len(self.config.fc_dims) + 1):
                rows = functional.linear(rows, *self.layer(f"roi_heads.box_head.{stage}.fc{index}")).relu()
            name = f"roi_heads.box_predictor.{stage}."
            embedded = functional.linear(rows, *self.layer(name + "cls_score.linear"))
            classifier = self.state[name + "cls_score.zs_weight"][:, :-1]  # without the background
            cosine = functional.normalize(embedded, dim=1) @ functional.normalize(classifier, dim=0)
            probabilities = probabilities + (self.config.temperature * cosine).sigmoid().numpy() / 3
            hidden = functional.linear(rows, *self.layer(name + "bbox_pred.0")).relu()
            deltas = functional.linear(hidden, *self.layer(name + "bbox_pred.2")).numpy()
            moved = np.array([move(box, delta / weights) for box, delta in zip(boxes, deltas, strict=True)])
            boxes = clip(moved, *size)
        return boxes, np.sqrt(probabilities * proposal_scores[:, None])

    def mask_probabilities(self, maps: Sequence[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        hidden = torch.from_numpy(pool(maps, boxes, self.config.mask_resolution))
        for index in range(1, self.config.mask_convs + 1):
            name = f"roi_heads.mask_head.mask_fcn{index}"
            hidden = functional.conv2d(hidden, *self.layer(name), padding=1).relu()
        name = "roi_heads.mask_head."
        hidden = functional.conv_transpose2d(hidden, *self.layer(name + "deconv"), stride=2).relu()
        logits = functional.conv2d(hidden, *self.layer(name + "predictor"))
        return logits[:, 0].sigmoid().numpy()


def clip(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    return boxes.clip(0, [width, height, width, height])


def move(box: Box, delta: Box) -> Box:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    x, y = x0 + width / 2 + delta[0] * width, y0 + height / 2 + delta[1] * height
    width, height = (
        side * math.exp(min(one, math.log(62.5)))
        for side, one in zip((width, height), delta[2:], strict=True)
    )
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def suppress(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, classes: np.ndarray | None = None
) -> list[int]:
    kept: list[int] = []
    for one in np.argsort(-scores, kind="stable").tolist():
        rivals = [other for other in kept if classes is None or classes[one] == classes[other]]
        if not any(overlap(boxes[one], boxes[other]) > threshold for other in rivals):
            kept.append(one)
    return kept


def overlap(one: Box, other: Box) -> float:
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - width * height
    return width * height / union if union else 0.0


def pool(maps: Sequence[np.ndarray], boxes: np.ndarray, size: int) -> np.ndarray:
    """RoIAlign on the level that suits a box: 224 pixels on that of stride 16."""
    pooled = []
    for box in boxes:
        side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        level = min(max(math.floor(4 + math.log2(side / 224 + 1e-8)), 3), 5) - 3
        pooled.append(align(maps[level], box / 2 ** (level + 3) - 0.5, size))
    return np.stack(pooled)


def align(cells: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Each bin the mean of samples, as many along an axis as it has cells, rounded up."""
    x0, y0, x1, y1 = box
    out = np.zeros((len(cells), size, size))
    rows, columns = math.ceil((y1 - y0) / size), math.ceil((x1 - x0) / size)
    for i in range(size):
        for j in range(size):
            for a in range(rows):
                for b in range(columns):
                    y = y0 + (i + (a + 0.5) / rows) * (y1 - y0) / size
                    x = x0 + (j + (b + 0.5) / columns) * (x1 - x0) / size
                    out[:, i, j] += bilinear(cells, y, x) / (rows * columns)
    return out


def bilinear(cells: np.ndarray, y: float, x: float) -> np.ndarray:
    """Nothing beyond a cell outside; at the border, its nearest cell."""
    height, width = cells.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(cells))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = cells[:, top, left] * (left + 1 - x) + cells[:, top, right] * (x - left)
    lower = cells[:, bottom, left] * (left + 1 - x) + cells[:, bottom, right] * (x - left)
    mixed: np.ndarray = upper * (top + 1 - y) + lower * (y - top)
    return mixed


def paste(box: Box, small: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities stretched over the box, bilinearly, where they reach one half."""
    y = (np.arange(size[0]) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    x = (np.arange(size[1]) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    grid = torch.from_numpy(np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1))[None]
    stretched = functional.grid_sample(torch.from_numpy(small)[None, None], grid, align_corners=False)
    mask: np.ndarray = (stretched[0, 0] >= 0.5).numpy()
    return mask


def random_state(shapes: Mapping[str, tuple[int, ...]], classes: int, seed: int) -> dict[str, Tensor]:
    """Weights that keep a signal alive: normal, by the number of inputs; those of norms about 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("zs_weight"):
            values = functional.normalize(torch.randn(shape[0], classes, generator=generator), dim=0)
            state[name] = functional.pad(values, (0, 1))
        elif len(shape) > 1:
            state[name] = 1.5 * values / values[0].numel() ** 0.5
        else:
            state[name] = 0.3 * values + name.endswith((".weight", ".scale"))
    return state


@pytest.mark.parametrize(
    ("seed", "shape", "size", "classes", "changes"),
    [
        (1, (97, 130), (194, 260), 3, {"proposals": 20, "max_detections": 12}),
        (5, (160, 131), (90, 70), 11, {"proposals": 15, "detection_nms": 0.3, "max_detections": 40}),
        (0, (64, 200), (64, 200), 1, {"proposals": 12, "proposals_per_level": 30, "proposal_nms": 0.7}),
    ],
)
def test_everything(
    seed: int,
    shape: tuple[int, int],
    size: tuple[int, int],
    classes: int,
    changes: dict[str, float],
) -> None:
    state = random_state(official_shapes(CONFIG), classes, seed)
    network = load_official_state_dict(state)
    network.config = network.proposals.config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    expected = ByDefinition(state, network.config)(image, size)
    found = compute_steps(network, image, official_embeddings(state), size=size)

    np.testing.assert_allclose(found.proposals.boxes, expected.proposals, atol=1e-3)
    np.testing.assert_allclose(found.detections.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.detections.scores, expected.scores, atol=1e-4)
    assert found.detections.classes.tolist() == expected.classes.tolist()
    np.testing.assert_allclose(found.rescaled.boxes, expected.final_boxes, atol=1e-3)
    assert (found.masks != expected.masks).mean() < 1e-4
    assert expected.masks.any((1, 2)).sum() > 2
