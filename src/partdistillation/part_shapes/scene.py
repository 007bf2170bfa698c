"""PartShapes: photographs that never were, with the masks of their objects and parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from partdistillation.part_shapes import lighting, raster, textures
from partdistillation.part_shapes.compose import KINDS, Group, Light, Plan, plan_scene
from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.table import PARTS_LIMIT, Table, tabulate

MIN_VISIBLE = 0.4


@dataclass(frozen=True)
class ScenePart:
    """A part class's visible mask in one object: all its pieces together."""

    name: str
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class SceneObject:
    """An object's visible mask, its class, its variety within the class, and its visible parts."""

    mask: Bool[np.ndarray, "height width"]
    category: str
    variety: int
    parts: tuple[ScenePart, ...]
    visible: float


@dataclass(frozen=True)
class Scene:
    """An image and its objects, the one furthest back first."""

    image: UInt8[np.ndarray, "height width 3"]
    objects: tuple[SceneObject, ...]


class PartShapes:
    """An endless data set. `PartShapes(seed, size)[index]` depends on nothing but seed, index and size.

    The same seed and index at another size is the same scene at another resolution. At least 40 % of
    every object is visible; its parts are disjoint and cover it. Another seed is another data set.
    """

    CATEGORIES: ClassVar[tuple[str, ...]] = tuple(kind.name for kind in KINDS)
    PART_NAMES: ClassVar[dict[str, tuple[str, ...]]] = {kind.name: kind.parts for kind in KINDS}
    NUM_VARIETIES: ClassVar[int] = len(KINDS[0].varieties)

    def __init__(self, seed: int, size: int = 96) -> None:
        self.seed = seed
        self.size = size

    def __getitem__(self, index: int) -> Scene:
        """Draw a scene. Raises IndexError for a negative index: there is no last scene."""
        if index < 0:
            raise IndexError(f"expected an index of at least 0, found {index}; there is no last scene")
        draw = Draw(self.seed, index)
        return render(plan_scene(draw), self.size, draw)


def render(plan: Plan, size: int, draw: Draw) -> Scene:
    """Draw a plan at 2 x 2 samples a pixel, after leaving out objects that would be mostly hidden."""
    groups = plan.groups
    while True:
        table = tabulate(groups)
        top, normal, owners, covered = raster.draw_pieces(table, 2 * size)
        seen = np.bincount(owners.ravel(), minlength=len(groups)) / np.maximum(covered, 1)
        hidden = too_hidden(groups, seen)
        if hidden is None:
            break
        groups = [group for i, group in enumerate(groups) if i not in hidden]
    linear = shade(table, groups, plan.light, top, normal, owners)
    noise = np.random.Generator(np.random.Philox(key=np.array([draw.integer(1 << 30), size], np.uint64)))
    grain = 0.035 * (noise.random((size, size), np.float32) - 0.5)
    image = lighting.develop(linear, plan.light, grain)
    return Scene(image, find_objects(groups, raster.vote(top, table.label), seen))


def too_hidden(groups: Sequence[Group], seen: NDArray[np.float64]) -> set[int] | None:
    """Groups to leave out: the most hidden object; where it is the only one, whatever is in front of it."""
    objects = [i for i, group in enumerate(groups) if group.kind is not None]
    worst = min(objects, key=lambda i: seen[i])
    if seen[worst] >= MIN_VISIBLE:
        return None
    return {worst} if len(objects) > 1 else set(range(worst + 1, len(groups)))


def shade(
    table: Table,
    groups: Sequence[Group],
    light: Light,
    top: NDArray[np.int32],
    normal: NDArray[np.float32],
    owners: NDArray[np.int32],
) -> NDArray[np.float32]:
    casts = np.array([group.casts_shadow for group in groups])
    look = textures.looks(top, table)
    size = top.shape[0] // 2
    dx, dy, height = light.direction
    shadow = lighting.cast_shadow(
        owners, casts, -0.06 * dx / height, -0.06 * dy / height, max(round(0.02 * size), 1)
    )
    towards = turned_lights(table.forward, light.direction)
    return lighting.lit(top, normal, look, shadow, table, towards, casts, light.shadow)


def turned_lights(forward: NDArray[np.float64], direction: tuple[float, float, float]) -> NDArray[np.float64]:
    """The light's direction in each group's own coordinates."""
    x, y, z = direction
    lx, ly = forward[:, 0] * x + forward[:, 3] * y, forward[:, 1] * x + forward[:, 4] * y
    flat = np.hypot(x, y) / np.maximum(np.hypot(lx, ly), 1e-9)
    return np.column_stack([lx * flat, ly * flat, np.full(len(forward), z)])


def find_objects(
    groups: Sequence[Group], labels: NDArray[np.int32], seen: NDArray[np.float64]
) -> tuple[SceneObject, ...]:
    """The visible objects and parts of a label map."""
    present = set(np.unique(labels).tolist())
    visible = []
    for g, group in enumerate(groups):
        if group.kind is None:
            continue
        names = [(g * PARTS_LIMIT + i, name) for i, name in enumerate(group.kind.parts)]
        parts = tuple(ScenePart(name, labels == label) for label, name in names if label in present)
        if parts:
            mask = labels // PARTS_LIMIT == g
            visible.append(SceneObject(mask, group.kind.name, group.variety, parts, float(seen[g])))
    return tuple(visible)
