"""Tree (in a pot) and axe: a plant and a tool."""

import math

from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.kind import Kind, Variety
from partdistillation.part_shapes.shapes import Piece, Point, along, blob, chain, ellipse, limb, polygon

UP = -math.pi / 2


def tree(draw: Draw, variety: Variety) -> list[Piece]:
    """Trunk with branches, foliage in clumps, fruit, pot. a: height of the trunk; b: size of the pot."""
    trunk, foliage, fruit, pot = range(4)
    height, thick = draw.near(0.26 + 0.16 * variety.a), draw.near(0.055)
    bend = draw.angle(22)
    fork = along((0.0, 0.1), UP + bend, height)
    pieces = [
        limb(trunk, (0.0, 0.3), (0.0, 0.1), thick * 1.15, thick),
        limb(trunk, (0.0, 0.1), fork, thick, thick * 0.8),
    ]
    clumps, places = [], []
    count, spread = 4 + draw.integer(3), draw.uniform(2.2, 3.8)
    for i in range(count):
        angle = UP + bend + (i / (count - 1) - 0.5) * spread + draw.angle(8)
        start = along((0.0, 0.1), UP + bend, height * draw.uniform(0.55, 1.0))
        end = along(start, angle, draw.uniform(0.15, 0.3))
        pieces.append(limb(trunk, start, end, thick * 0.65, thick * 0.5))
        size, shadow = draw.uniform(0.1, 0.16), draw.uniform(0.75, 1.05)
        clumps.append(ellipse(foliage, end, 1.2 * size, size, angle, rough=0.014, dim=shadow))
        places += [along(end, draw.uniform(0.0, 6.3), draw.uniform(0.05, 0.14)) for _ in range(2)]
    w, h = draw.near(0.12 + 0.08 * variety.b), draw.near(0.09 + 0.05 * variety.b)
    taper = draw.uniform(0.65, 0.95)
    vase = [(-w, 0.25), (w, 0.25), (w * taper, 0.25 + 2 * h), (-w * taper, 0.25 + 2 * h)]
    pieces += [*clumps, polygon(pot, vase, rounding=0.015, dome=0.06)]
    size = draw.uniform(0.04, 0.052)
    return pieces + [ellipse(fruit, place, size, size * 0.95, draw.uniform(0.0, 6.3)) for place in places[:8]]


def axe(draw: Draw, variety: Variety) -> list[Piece]:
    """Handle, blade (one, two, or a hammer's back), grip, binding. a: form of the head; b: long grip."""
    handle, blade, grip, binding = range(4)
    bow, thick = draw.uniform(-0.09, 0.09), draw.near(0.042)
    curve = [(-0.5 + 0.25 * i, bow * math.sin(math.pi * i / 4)) for i in range(5)]
    pieces = chain(handle, curve, [thick] * 5)
    long = 0.13 + 0.1 * variety.b * draw.uniform(0.8, 1.1)
    second = long + draw.uniform(0.1, 0.18)
    for start, end in ((0.0, long), (second, second + 0.6 * long)):
        pieces.append(limb(grip, _on(curve, start), _on(curve, end), thick * 1.4, thick * 1.3))
    x, wide, deep = draw.uniform(0.32, 0.4), draw.near(0.2), draw.near(0.27)
    left = [(x - 0.065, -0.02), (x - 0.06, 0.1), (x - wide, deep * 0.85), (x - 0.03, deep * 1.05)]
    edge = [*left, (x + wide * 0.75, deep * 0.9), (x + 0.07, 0.1), (x + 0.065, -0.02)]
    pieces.append(blob(blade, edge, dome=0.09, angle=math.pi / 2))
    if variety.a > 0.66:
        pieces.append(blob(blade, [(p, -q) for p, q in edge], dome=0.09, angle=math.pi / 2))
    elif variety.a > 0.33:
        back = [(x - 0.06, 0.05), (x - 0.075, -0.17), (x + 0.075, -0.17), (x + 0.06, 0.05)]
        pieces.append(polygon(blade, back, rounding=0.015, angle=math.pi / 2))
    else:
        pieces.append(limb(blade, (x, 0.0), along((x, 0.0), UP + draw.angle(20), 0.2), 0.065, 0.01))
    low, high, first, last = (_on(curve, 0.5 + x + shift) for shift in (-0.26, -0.13, -0.02, 0.04))
    pieces.append(limb(binding, low, high, thick * 1.5, thick * 1.6))
    return [*pieces, limb(binding, first, last, thick * 1.3, thick * 1.3)]


def _on(curve: list[Point], distance: float) -> Point:
    """The point of the handle at `distance` (0..1) from its end."""
    i = min(int(distance * 4), 3)
    t = distance * 4 - i
    (x0, y0), (x1, y1) = curve[i], curve[i + 1]
    return x0 + t * (x1 - x0), y0 + t * (y1 - y0)


TREE = Kind(
    "tree",
    ("trunk", "foliage", "fruit", "pot"),
    (
        Variety.of("bark leaves peel brick", 0.3, 0.5),
        Variety.of("birch leaves peel stone", 0.8, 0.3),
        Variety.of("bark needles peel stone", 0.6, 0.8),
        Variety.of("birch needles peel planks", 0.2, 0.9),
        Variety.of("bark leaves leather wicker", 0.9, 0.6),
        Variety.of("wood needles peel brick", 0.5, 0.2),
    ),
    tree,
    180.0,
)
AXE = Kind(
    "axe",
    ("handle", "blade", "grip", "binding"),
    (
        Variety.of("wood metal leather rope", 0.1, 0.3),
        Variety.of("wood metal knit rope", 0.9, 0.6),
        Variety.of("bark stone leather rope", 0.5, 0.8),
        Variety.of("bark metal plaid rope", 0.2, 0.9),
        Variety.of("birch metal leather hair", 0.5, 0.5),
        Variety.of("wood stone hoops rope", 0.8, 0.2),
    ),
    axe,
    180.0,
)
