"""A plan's pieces as arrays, which the compiled functions draw."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partdistillation.part_shapes.compose import EYE_COLORS, Group
from partdistillation.part_shapes.materials import Material

PARTS_LIMIT = 8
NO_OBJECT = -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Table(NamedTuple):
    """A row a piece, in painting order; `forward` and `inverse` have a row a group."""

    kind: Ints
    numbers: Floats
    """The piece's own, then (6) its dome, (7) ragged height, (8) ragged frequency."""
    points: Floats
    first: Ints
    """Of the piece's points; those of the next begin where they end."""
    box: Floats
    group: Ints
    forward: Floats
    """Affine maps from the pieces' coordinates to the image's (0..1), as (xx, xy, x0, yx, yy, y0)."""
    inverse: Floats
    """And back."""
    material: Ints
    frame: Floats
    """The texture's origin, and cosine and sine of its angle over the unit."""
    reach: Floats
    seed: Ints
    colors: Floats
    """(light, dark) linear RGB."""
    dim: Floats
    label: NDArray[np.int32]
    """Group x 8 + part, or NO_OBJECT."""


def tabulate(groups: Sequence[Group]) -> Table:
    """Lay the groups' pieces out as arrays, in painting order."""
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


def invert(forward: Floats) -> Floats:
    """Inverses of affine maps (xx, xy, x0, yx, yy, y0), one a row."""
    a, b, x, c, d, y = forward.T
    det = a * d - b * c
    return np.ascontiguousarray(np.column_stack([d, -b, b * y - d * x, -c, a, c * x - a * y]) / det[:, None])
