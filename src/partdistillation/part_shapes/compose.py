"""A scene's plan: what is where, of which material and colour, in which light. Nothing is drawn here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from partdistillation.part_shapes.colors import Color, Pair, ground_pair, object_pair, oklch
from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.kind import Kind
from partdistillation.part_shapes.living import BIRD, HORSE, PERSON
from partdistillation.part_shapes.materials import Material, named
from partdistillation.part_shapes.shapes import Piece, ellipse, limb, polygon, wheel
from partdistillation.part_shapes.things import AXE, TREE
from partdistillation.part_shapes.vehicles import BICYCLE, CAR, TRUCK

KINDS: tuple[Kind, ...] = (CAR, TRUCK, BICYCLE, HORSE, BIRD, PERSON, TREE, AXE)
EYE_COLORS: Pair = ((0.95, 0.95, 0.95), (0.02, 0.02, 0.03))
GROUND_HUES = {
    Material.CLOUDS: (0.62, 0.74),
    Material.WATER: (0.52, 0.7),
    Material.GRASS: (0.31, 0.4),
    Material.LEAVES: (0.3, 0.42),
    Material.NEEDLES: (0.3, 0.45),
    Material.SAND: (0.17, 0.25),
    Material.BRICK: (0.07, 0.14),
    Material.PLANKS: (0.12, 0.2),
}
SKIES = named("clouds clouds brick leaves stripes sand water planks needles stone")
GROUNDS = named("grass grass sand water tiles stone planks brick")
Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Group:
    """Pieces that move together: an object (`kind` is its class), a piece of clutter, or the background.

    `materials` and `colors`: one for each part. `place` maps the pieces' coordinates to the image's
    (0..1). `unit` is the size of the texture's finest detail in the pieces' coordinates.
    """

    pieces: Sequence[Piece]
    materials: Sequence[Material]
    colors: Sequence[Pair]
    place: Affine
    unit: float
    seed: int
    kind: Kind | None = None
    variety: int = 0
    casts_shadow: bool = True


@dataclass(frozen=True, slots=True)
class Light:
    """Where the light comes from (x, y, z, towards it) and how the photograph is exposed."""

    direction: tuple[float, float, float]
    shadow: float
    exposure: float
    contrast: float
    cast: Color
    slope: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups in painting order: the background's first."""

    groups: list[Group]
    light: Light


def plan_scene(draw: Draw) -> Plan:
    groups = [*backdrop(draw), *(lone_part(draw) for _ in range(draw.integer(5)))]
    count = draw.choice((1, 1, 1, 2, 2, 3))
    groups += [place_object(draw, count) for _ in range(count)]
    if draw.chance(0.3):
        groups += occluders(draw)
    return Plan(groups, light(draw))


def place_object(draw: Draw, count: int) -> Group:
    """An object of any class in any pose: its longest side is 40 to 95 % of the image's."""
    kind = draw.choice(KINDS)
    number = draw.integer(len(kind.varieties))
    pieces = kind.build(draw, kind.varieties[number])
    longest = draw.uniform(0.5, 0.95) if count == 1 else draw.uniform(0.4, 0.8)
    tilt = 0.5 * (draw.angle(kind.tilt) + draw.angle(kind.tilt))
    place = _placed(draw, pieces, tilt, longest)
    scale = math.hypot(place[0], place[3])
    unit = max(0.03 * longest, 0.016) * draw.near(1.0, 0.25) / scale
    colors = part_colors(draw, len(kind.parts))
    seed = draw.integer(1 << 20)
    return Group(pieces, kind.varieties[number].materials, colors, place, unit, seed, kind, number)


def _placed(draw: Draw, pieces: Sequence[Piece], angle: float, longest: float) -> Affine:
    """Turn, flip and foreshorten, then scale and move the bounding box (almost) inside the image."""
    flip = draw.choice((-1.0, 1.0))
    wide = draw.uniform(0.8, 1.1)
    c, s = math.cos(angle), math.sin(angle)
    xx, xy, yx, yy = flip * wide * c, -s, flip * wide * s, c
    corners = [(x, y) for x0, y0, x1, y1 in (p.box() for p in pieces) for x in (x0, x1) for y in (y0, y1)]
    xs, ys = [xx * x + xy * y for x, y in corners], [yx * x + yy * y for x, y in corners]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    scale = longest / max(width, height)
    left = _offset(draw, scale * width)
    top = _offset(draw, scale * height)
    return (scale * xx, scale * xy, left - scale * min(xs), scale * yx, scale * yy, top - scale * min(ys))


def _offset(draw: Draw, extent: float) -> float:
    slack = 0.04
    return draw.uniform(-slack, 1.0 + slack - extent)


def part_colors(draw: Draw, count: int) -> list[Pair]:
    """Colours that say nothing about the parts: each takes one of the object's one to three pairs."""
    palette = [object_pair(draw) for _ in range(draw.choice((1, 2, 2, 3, 3)))]
    return [draw.choice(palette) for _ in range(count)]


def backdrop(draw: Draw) -> list[Group]:
    """Two textured fields with a ragged, slanted border, or one."""
    top, low = draw.choice(SKIES), draw.choice(GROUNDS)
    horizon = draw.choice((2.0, draw.uniform(0.3, 0.85), draw.uniform(0.3, 0.85)))
    slant, rough = draw.uniform(-0.12, 0.12), draw.choice((0.0, 0.01, 0.03))
    field = [(-1.0, -1.0), (2.0, -1.0), (2.0, 2.0), (-1.0, 2.0)]
    ground = [(-0.5, horizon - slant), (1.5, horizon + slant), (2.0, 3.0), (-1.0, 3.0)]
    return [
        _field(draw, top, polygon(0, field, angle=draw.angle(12))),
        _field(draw, low, polygon(0, ground, rough=rough, angle=slant)),
    ]


def _field(draw: Draw, material: Material, piece: Piece) -> Group:
    """A part of the background, in the hue that it has in nature or in any other."""
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    low, high = GROUND_HUES.get(material, (0.0, 1.0)) if draw.chance(0.65) else (0.0, 1.0)
    colors = ground_pair(draw, draw.uniform(low, high))
    unit = draw.uniform(0.018, 0.04)
    return Group([piece], [material], [colors], identity, unit, draw.integer(1 << 20), casts_shadow=False)


def lone_part(draw: Draw) -> Group:
    """A wheel, a tuft, a plank, a pane or a patch of cloth: a part's material, but no object."""
    kind = draw.choice(KINDS)
    material = draw.choice(draw.choice(kind.varieties).materials)
    if material in (Material.SPOKES, Material.DISC):
        piece = wheel(0, (0.0, 0.0), 0.5, draw.uniform(0.0, 6.3))
    else:
        piece = draw.choice(
            (
                ellipse(0, (0.0, 0.0), 0.5, draw.uniform(0.25, 0.5), rough=draw.choice((0.0, 0.03))),
                limb(0, (-0.4, 0.0), (0.4, 0.0), draw.uniform(0.06, 0.16), draw.uniform(0.06, 0.2)),
                polygon(0, [(-0.5, -0.3), (0.5, -0.3), (0.4, 0.3), (-0.4, 0.3)], dome=0.1),
            )
        )
    longest = draw.uniform(0.12, 0.4)
    place = _placed(draw, [piece], draw.angle(180), longest)
    unit = draw.uniform(0.014, 0.026) / math.hypot(place[0], place[3])
    return Group([piece], [material], part_colors(draw, 1), place, unit, draw.integer(1 << 20))


def occluders(draw: Draw) -> list[Group]:
    """What stands in front: a pole, bars, or leaves in a corner."""
    colors, unit = part_colors(draw, 1), draw.uniform(0.014, 0.024)
    lean, form = draw.uniform(-0.15, 0.15), draw.integer(3)
    if form == 0:
        x = draw.uniform(0.15, 0.85)
        radii = draw.uniform(0.025, 0.05), draw.uniform(0.025, 0.05)
        pieces = [limb(0, (x - lean, -0.1), (x + lean, 1.1), *radii)]
        material = draw.choice(named("metal wood bark birch rope"))
    elif form == 1:
        gap, shift = draw.uniform(0.17, 0.26), draw.unit()
        feet = [gap * (i + shift) for i in range(-1, 6)]
        pieces = [limb(0, (x, -0.1), (x + lean, 1.1), 0.014, 0.014) for x in feet]
        material = draw.choice(named("metal wood rope"))
    else:
        x, y = draw.choice((0.0, 1.0)), draw.choice((0.0, 1.0, 1.0))
        pieces = []
        for _ in range(4):
            centre = (x + draw.uniform(-0.2, 0.2), y + draw.uniform(-0.2, 0.2))
            pieces.append(ellipse(0, centre, 0.16, 0.1, draw.uniform(0.0, 6.3), rough=0.02))
        material = draw.choice(named("leaves needles grass"))
    return [Group(pieces, [material], colors, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), unit, draw.integer(1 << 20))]


def light(draw: Draw) -> Light:
    angle, height = draw.uniform(-math.pi, 0.0), draw.uniform(0.5, 0.85)
    flat = math.sqrt(1.0 - height * height)
    tint = oklch(0.95, draw.uniform(0.0, 0.05), draw.unit())
    mean = sum(tint) / 3.0
    cast = (tint[0] / mean, tint[1] / mean, tint[2] / mean)
    slope = (draw.uniform(-0.5, 0.5), draw.uniform(-0.5, 0.5))
    return Light(
        (flat * math.cos(angle), flat * math.sin(angle), height),
        draw.uniform(0.25, 0.75),
        draw.uniform(0.8, 1.35),
        draw.uniform(0.85, 1.15),
        cast,
        slope,
    )
