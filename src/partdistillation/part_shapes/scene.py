"""PartShapes: photographs that never were, with the masks of their objects and parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from partdistillation.part_shapes import lighting, raster, textures
from partdistillation.part_shapes.compose import EYE_COLORS, KINDS, Group, Light, Plan, plan_scene
from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.materials import Material

MIN_VISIBLE = 0.4
PARTS_LIMIT = 8
NO_OBJECT = -1


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


@dataclass(frozen=True)
class Table:
    """A plan's pieces as arrays, for the compiled functions."""

    kind: NDArray[np.int64]
    numbers: NDArray[np.float64]
    points: NDArray[np.float64]
    first: NDArray[np.int64]
    box: NDArray[np.float64]
    group: NDArray[np.int64]
    forward: NDArray[np.float64]
    inverse: NDArray[np.float64]
    material: NDArray[np.int64]
    frame: NDArray[np.float64]
    reach: NDArray[np.float64]
    seed: NDArray[np.int64]
    colors: NDArray[np.float64]
    dim: NDArray[np.float64]
    label: NDArray[np.int32]


def tabulate(groups: Sequence[Group]) -> Table:
    """Lay the groups' pieces out as arrays, in painting order. Labels: group x 8 + part, or NO_OBJECT."""
    pieces = [(g, group, piece) for g, group in enumerate(groups) for piece in group.pieces]
    counts = np.cumsum([0, *(len(piece.points) for _, _, piece in pieces)])
    materials = [group.materials[p.part] if p.material is None else p.material for _, group, p in pieces]
    pairs = [EYE_COLORS if p.material is Material.EYE else group.colors[p.part] for _, group, p in pieces]
    numbers = np.zeros((len(pieces), 9))
    for row, (_, _, p) in zip(numbers, pieces, strict=True):
        row[: len(p.numbers)] = p.numbers
        row[6:] = p.dome, p.rough, 60.0
    angle = np.array([p.angle for _, _, p in pieces])
    unit = np.array([group.unit for _, group, _ in pieces])
    origin = np.array([p.origin for _, _, p in pieces])
    forward = np.array([group.place for group in groups])
    return Table(
        kind=np.array([p.kind for _, _, p in pieces]),
        numbers=numbers,
        points=np.array([point for _, _, p in pieces for point in p.points]),
        first=counts,
        box=np.array([p.box() for _, _, p in pieces]),
        group=np.array([g for g, _, _ in pieces]),
        forward=forward,
        inverse=invert(forward),
        material=np.array(materials, np.int64),
        frame=np.column_stack([origin, np.cos(angle) / unit, np.sin(angle) / unit]),
        reach=np.array([p.reach for _, _, p in pieces]) / unit,
        seed=np.array([group.seed + 101 * p.part for _, group, p in pieces]),
        colors=np.array(pairs),
        dim=np.array([p.dim for _, _, p in pieces]),
        label=np.array(
            [NO_OBJECT if group.kind is None else g * PARTS_LIMIT + p.part for g, group, p in pieces],
            np.int32,
        ),
    )


def invert(forward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverses of affine maps (xx, xy, x0, yx, yy, y0), one a row."""
    a, b, x, c, d, y = forward.T
    det = a * d - b * c
    return np.ascontiguousarray(np.column_stack([d, -b, b * y - d * x, -c, a, c * x - a * y]) / det[:, None])


def render(plan: Plan, size: int, draw: Draw) -> Scene:
    """Draw a plan at 2 x 2 samples a pixel, after leaving out objects that would be mostly hidden."""
    groups = plan.groups
    while True:
        table = tabulate(groups)
        top, normal, owners, covered = raster.draw_pieces(
            table.kind,
            table.numbers,
            table.points,
            table.first,
            table.box,
            table.group,
            table.forward,
            table.inverse,
            2 * size,
        )
        seen = np.bincount(owners.ravel(), minlength=len(groups)) / np.maximum(covered, 1)
        hidden = too_hidden(groups, seen)
        if hidden is None:
            break
        groups = [group for i, group in enumerate(groups) if i not in hidden]
    linear = shade(table, groups, plan.light, top, normal, owners)
    light = plan.light
    noise = np.random.Generator(np.random.Philox(key=np.array([draw.integer(1 << 30), size], np.uint64)))
    image = lighting.develop(
        linear,
        exposure=light.exposure,
        contrast=light.contrast,
        cast=light.cast,
        slope=light.slope,
        grain=0.035 * (noise.random((size, size), np.float32) - 0.5),
    )
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
    look = textures.looks(
        top, table.material, table.frame, table.reach, table.seed, table.group, table.inverse
    )
    size = top.shape[0] // 2
    dx, dy, height = light.direction
    shadow = lighting.cast_shadow(
        owners, casts, -0.06 * dx / height, -0.06 * dy / height, max(round(0.02 * size), 1)
    )
    towards = turned_lights(table.forward, light.direction)
    return lighting.lit(
        top, normal, look, shadow, table.colors, table.dim, table.group, towards, casts, light.shadow
    )


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
