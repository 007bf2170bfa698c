"""The pieces of objects, in an object's own coordinates (x right, y down, the object about 1 long)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from partdistillation.part_shapes.materials import Material

Point = tuple[float, float]
LIMB, ELLIPSE, POLYGON = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """One primitive. Pieces are painted in order; several pieces with one `part` are one part.

    `numbers` are the primitive's own (LIMB: x0 y0 x1 y1 r0 r1; ELLIPSE: x y rx ry cos sin; POLYGON:
    rounding). The texture's frame is `origin` and `angle`; `reach` is a wheel's radius; `dome` the
    depth over which the surface curves to its edge; `rough` the height of a ragged edge; `dim`
    darkens what is further away; `material` overrides the part's (an eye in a head).
    """

    part: int
    kind: int
    numbers: tuple[float, ...]
    points: tuple[Point, ...]
    origin: Point
    angle: float
    reach: float
    dome: float
    rough: float = 0.0
    dim: float = 1.0
    material: Material | None = None

    def box(self) -> tuple[float, float, float, float]:
        """Bounds (x0, y0, x1, y1), ragged edge included."""
        if self.kind == LIMB:
            x0, y0, x1, y1, r0, r1 = self.numbers
            left, right, top, low, margin = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1), max(r0, r1)
        elif self.kind == ELLIPSE:
            x, y, rx, ry, c, s = self.numbers
            w, h = math.hypot(rx * c, ry * s), math.hypot(rx * s, ry * c)
            left, right, top, low, margin = x - w, x + w, y - h, y + h, 0.0
        else:
            xs, ys = [p[0] for p in self.points], [p[1] for p in self.points]
            left, right, top, low, margin = min(xs), max(xs), min(ys), max(ys), self.numbers[0]
        margin += self.rough
        return left - margin, top - margin, right + margin, low + margin


def limb(
    part: int, start: Point, end: Point, r0: float, r1: float, *, rough: float = 0.0, dim: float = 1.0
) -> Piece:
    """A capsule from `start` to `end` whose radius goes from `r0` to `r1`; its texture runs along it."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    return Piece(part, LIMB, (*start, *end, r0, r1), (), start, angle, 1.0, max(r0, r1), rough, dim)


def chain(
    part: int, points: Sequence[Point], radii: Sequence[float], *, rough: float = 0.0, dim: float = 1.0
) -> list[Piece]:
    """Limbs from point to point."""
    return [
        limb(part, points[i], points[i + 1], radii[i], radii[i + 1], rough=rough, dim=dim)
        for i in range(len(points) - 1)
    ]


def ellipse(
    part: int,
    centre: Point,
    rx: float,
    ry: float,
    angle: float = 0.0,
    *,
    rough: float = 0.0,
    dim: float = 1.0,
) -> Piece:
    numbers = (*centre, rx, ry, math.cos(angle), math.sin(angle))
    return Piece(part, ELLIPSE, numbers, (), centre, angle, max(rx, ry), min(rx, ry), rough, dim)


def wheel(part: int, centre: Point, radius: float, turn: float) -> Piece:
    return replace(ellipse(part, centre, radius, radius, turn), dome=0.18 * radius)


def eye(part: int, centre: Point, radius: float) -> Piece:
    return replace(ellipse(part, centre, radius, radius), material=Material.EYE)


def polygon(
    part: int,
    points: Sequence[Point],
    *,
    rounding: float = 0.0,
    dome: float = 0.05,
    angle: float = 0.0,
    rough: float = 0.0,
    dim: float = 1.0,
) -> Piece:
    """A filled polygon, grown by `rounding`, which also rounds its corners."""
    n = len(points)
    origin = (sum(p[0] for p in points) / n, sum(p[1] for p in points) / n)
    return Piece(part, POLYGON, (rounding,), tuple(points), origin, angle, 1.0, dome, rough, dim)


def blob(
    part: int, points: Sequence[Point], *, dome: float = 0.08, angle: float = 0.0, rough: float = 0.0
) -> Piece:
    """A closed smooth curve through `points` (Catmull-Rom), filled."""
    n, curve = len(points), []
    for i in range(n):
        a, b, c, d = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        for t in (0.0, 1.0 / 3.0, 2.0 / 3.0):
            curve.append((_spline(a[0], b[0], c[0], d[0], t), _spline(a[1], b[1], c[1], d[1], t)))
    return polygon(part, curve, dome=dome, angle=angle, rough=rough)


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def along(origin: Point, angle: float, length: float) -> Point:
    """The point `length` away from `origin` in direction `angle` (0 = right, pi / 2 = down)."""
    return origin[0] + length * math.cos(angle), origin[1] + length * math.sin(angle)


def turned(points: Sequence[Point], origin: Point, angle: float) -> list[Point]:
    """Points given relative to `origin`, turned about it."""
    c, s = math.cos(angle), math.sin(angle)
    return [(origin[0] + c * x - s * y, origin[1] + s * x + c * y) for x, y in points]
