"""Horse, bird and person."""

import math

from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.kind import Kind, Variety
from partdistillation.part_shapes.shapes import (
    Piece,
    Point,
    along,
    blob,
    chain,
    ellipse,
    eye,
    limb,
    polygon,
    turned,
)

DOWN = math.pi / 2


def horse(draw: Draw, variety: Variety) -> list[Piece]:
    """Torso, head (with the neck), four legs, mane, tail. a: length of the legs; b: bulk."""
    torso, head, leg, mane, tail = range(5)
    bulk, reach = draw.near(0.11 + 0.045 * variety.b), draw.near(0.15 + 0.07 * variety.a)
    shoulder, rump = (0.2, 0.0), (-0.22, 0.0)
    far = [piece for x in (0.15, -0.27) for piece in _leg(draw, leg, (x, 0.06), reach, 0.62)]
    near = [piece for x in (0.22, -0.2) for piece in _leg(draw, leg, (x, 0.06), reach, 1.0)]
    swing = draw.uniform(-0.4, 0.9)
    back = [(-0.33, -0.02), (-0.24, -bulk), (0.0, -0.8 * bulk), (0.2, -bulk * 1.05), (0.31, -0.03)]
    belly = [(0.22, bulk), (0.0, bulk * draw.uniform(1.0, 1.25)), (-0.22, 0.9 * bulk)]
    pieces = _tail(tail, rump, DOWN + swing, draw.near(0.3), draw.uniform(-0.6, 0.6))
    pieces = far + pieces + [blob(torso, back + belly, dome=0.1)] + near
    return pieces + _horse_head(draw, head, mane, (shoulder[0] + 0.02, -0.05))


def _leg(draw: Draw, part: int, hip: Point, reach: float, dim: float) -> list[Piece]:
    angle = DOWN + draw.angle(38)
    knee = along(hip, angle, reach)
    foot = along(knee, angle + draw.uniform(-0.1, 0.9), reach * 0.95)
    toe = along(foot, 0.2, 0.02)
    return chain(part, [hip, knee, foot, toe], [0.062, 0.042, 0.034, 0.042], dim=dim)


def _tail(part: int, rump: Point, angle: float, length: float, curl: float) -> list[Piece]:
    start = (rump[0] - 0.09, rump[1] - 0.06)
    points = [start]
    for i in range(4):
        points.append(along(points[-1], angle + 0.7 - 0.35 * i + curl * i * 0.4, length / 4))
    return chain(part, points, [0.035, 0.055, 0.06, 0.05, 0.02], rough=0.008)


def _horse_head(draw: Draw, head: int, mane: int, base: Point) -> list[Piece]:
    """Neck, skull, ears, mane along the back of the neck; the neck is up, level or down to graze."""
    lift = draw.uniform(-1.2, 0.45)
    nape = along(base, lift, draw.near(0.25))
    nose = along(nape, lift + draw.uniform(0.9, 1.5), draw.near(0.17))
    back = lift - DOWN
    ridge = [along(along(base, lift, t), back, 0.085 - 0.12 * t) for t in (-0.02, 0.06, 0.13, 0.2, 0.26)]
    ear = along(nape, back + 0.3, 0.09)
    brow = along(nape, lift + 1.2, 0.05)
    return [
        limb(head, base, nape, 0.105, 0.065),
        limb(head, along(nape, back, 0.03), ear, 0.03, 0.008),
        *chain(mane, ridge, [0.05, 0.062, 0.06, 0.055, 0.05], rough=0.01),
        limb(head, nape, nose, 0.072, 0.046),
        eye(head, along(brow, back, 0.015), 0.018),
    ]


def bird(draw: Draw, variety: Variety) -> list[Piece]:
    """Head, beak, body, wings (folded, or one or two spread), tail. a: slenderness; b: size of the beak."""
    head, beak, body, wing, tail = range(5)
    fat = draw.near(0.165 - 0.05 * variety.a)
    long = draw.near(0.25 + 0.05 * variety.a)
    nod, lift = draw.uniform(-1.1, 0.3), draw.near(0.26, 0.2)
    face = along((0.12, -0.03), nod, lift)
    look = draw.uniform(-0.35, 0.45)
    fan = _fan(draw, tail, (-long + 0.05, 0.0), math.pi + draw.angle(35), draw.near(0.26), 0.2)
    spread = draw.chance(0.7)
    pieces = []
    if spread and draw.chance(0.7):
        pieces.append(_wing(draw, wing, (0.06, -0.06), -draw.uniform(0.9, 1.8), 0.46, 0.75))
    belly = [(-long, 0.0), (-0.1, -fat), (0.12, -fat * 0.95), (0.24, -0.02), (0.14, fat), (-0.1, fat)]
    pieces += [fan, blob(body, belly, dome=0.14), limb(body, (0.13, -0.02), face, 0.09, 0.075)]
    size = draw.near(0.1 + 0.02 * variety.a)
    bill = draw.near(0.15 + 0.12 * variety.b)
    tip = along(face, look, size + bill)
    pieces += [
        limb(beak, along(face, look, 0.6 * size), tip, 0.065 + 0.025 * variety.b, 0.012),
        ellipse(head, face, size, 0.92 * size, look),
        eye(head, along(face, look - 0.6, 0.5 * size), 0.024),
    ]
    angle, length = (-math.pi + draw.uniform(0.3, 1.2), 0.48) if spread else (math.pi + draw.angle(14), 0.36)
    return [*pieces, _wing(draw, wing, (0.1, -0.02), angle, length, 1.0)]


def _fan(draw: Draw, part: int, root: Point, angle: float, length: float, width: float) -> Piece:
    side = [(0.0, 0.04), (length * 0.6, width * 0.45), (length, width * 0.5)]
    shape = [*((x, -y) for x, y in side), (length * draw.uniform(0.75, 1.1), 0.0), *reversed(side)]
    return polygon(part, turned(shape, root, angle), rounding=0.01, dome=0.04, angle=angle)


def _wing(draw: Draw, part: int, root: Point, angle: float, length: float, dim: float) -> Piece:
    """A wing with a smooth leading edge and feather tips behind."""
    wide = draw.near(0.19)
    outline = [(-0.05, 0.05), (0.4, 0.09), (0.8, 0.07), (1.0, 0.0)]
    outer = [(1.02, -0.2), (0.88, -0.24), (0.86, -0.5), (0.68, -0.5), (0.62, -0.78)]
    inner = [(0.42, -0.72), (0.3, -0.95), (0.12, -0.75), (-0.08, -0.3)]
    shape = [(length * x, wide * y) for x, y in (*outline, *outer, *inner)]
    return polygon(part, turned(shape, root, angle), rounding=0.014, dome=0.05, angle=angle, dim=dim)


def person(draw: Draw, variety: Variety) -> list[Piece]:
    """Hair, skin (face, hands), shirt with sleeves, trousers, two shoes. a: long hair; b: build."""
    hair, skin, shirt, trousers, shoe = range(5)
    broad, hip = draw.near(0.11 + 0.035 * variety.b), draw.near(0.1 + 0.02 * variety.b)
    lean = draw.angle(14)
    neck = along((0.0, 0.0), -DOWN + lean, 0.3)
    face = along(neck, -DOWN + lean + draw.angle(16), 0.115)
    right = [(hip, 0.04), (hip * 0.95, -0.1), (broad, -0.27), (0.05, -0.31)]
    chest = [*((-x, y) for x, y in right), *reversed(right)]
    pieces = _arm(draw, shirt, skin, turned([(-broad + 0.02, -0.26)], (0.0, 0.0), lean)[0], 1, 0.75)
    for side in (-1, 1):
        pieces += _human_leg(draw, trousers, shoe, (side * hip * 0.5, 0.03), side)
    pieces += [
        limb(skin, neck, face, 0.045, 0.045),
        polygon(shirt, turned(chest, (0.0, 0.0), lean), rounding=0.015, dome=0.1, angle=lean - DOWN),
    ]
    pieces += _arm(draw, shirt, skin, turned([(broad - 0.02, -0.26)], (0.0, 0.0), lean)[0], -1, 1.0)
    return pieces + _human_head(draw, hair, skin, face, lean, variety.a)


def _arm(draw: Draw, shirt: int, skin: int, shoulder: Point, side: int, dim: float) -> list[Piece]:
    """Sleeve to the elbow or to the wrist, then skin."""
    raise_ = draw.choice((draw.uniform(0.0, 0.7), draw.uniform(0.5, 2.7)))
    angle = DOWN + side * raise_
    elbow = along(shoulder, angle, 0.16)
    bend = side * draw.uniform(-0.2, 1.7)
    wrist = along(elbow, angle + bend, 0.13)
    hand = along(wrist, angle + bend, 0.035)
    return [
        limb(skin, wrist, hand, 0.036, 0.04, dim=dim),
        *chain(shirt, [shoulder, elbow, wrist], [0.058, 0.05, 0.042], dim=dim),
    ]


def _human_leg(draw: Draw, trousers: int, shoe: int, hip: Point, side: int) -> list[Piece]:
    angle = DOWN - side * draw.uniform(-0.25, 0.75)
    knee = along(hip, angle, 0.2)
    ankle = along(knee, angle + draw.uniform(-0.1, 0.8), 0.19)
    toe = along(ankle, draw.angle(25), 0.1)
    dim = 0.75 if side < 0 else 1.0
    return [
        limb(shoe, along(ankle, DOWN, 0.02), toe, 0.052, 0.042, dim=dim),
        *chain(trousers, [hip, knee, ankle], [0.075, 0.058, 0.046], dim=dim),
    ]


def _human_head(draw: Draw, hair: int, skin: int, face: Point, lean: float, length: float) -> list[Piece]:
    turn, size = draw.uniform(-0.6, 0.6), draw.near(0.092)
    crown = along(face, -DOWN + lean - 0.4 * turn, 0.035)
    pieces = [ellipse(hair, crown, size * 1.12, size * 1.1, lean, rough=0.008)]
    if length > 0.5:
        fall = along(crown, DOWN + lean + 0.5 * turn, 0.2)
        pieces.append(limb(hair, crown, fall, size * 1.05, size * 0.75, rough=0.01))
    front = along(face, turn * 0.5 + (0.0 if turn > 0 else math.pi), 0.02)
    pieces.append(ellipse(skin, along(front, DOWN + lean, 0.015), size * 0.82, size * 0.98, lean))
    pieces += [
        eye(skin, along(along(front, lean, side * 0.036 + 0.02 * turn), -DOWN + lean, 0.0), 0.016)
        for side in (-1, 1)
    ]
    arch = [(-0.09, -0.005), (-0.07, -0.09), (0.0, -0.125), (0.07, -0.09), (0.09, -0.005)]
    fringe = turned([*arch, (0.05, -0.05), (-0.04, -0.05)], face, lean)
    return [*pieces, blob(hair, fringe, dome=0.04, rough=0.006)]


HORSE = Kind(
    "horse",
    ("torso", "head", "leg", "mane", "tail"),
    (
        Variety.of("fur fur striped_fur hair hair", 0.8, 0.3),
        Variety.of("spotted_fur fur fur hair hair", 0.4, 0.6),
        Variety.of("striped_fur striped_fur striped_fur needles hair", 0.3, 0.4),
        Variety.of("plaid fur fur hair hair", 0.7, 0.5),
        Variety.of("knit spotted_fur striped_fur hair hair", 0.1, 0.9),
        Variety.of("spotted_fur spotted_fur fur rope rope", 0.2, 0.8),
    ),
    horse,
    60.0,
)
BIRD = Kind(
    "bird",
    ("head", "beak", "body", "wing", "tail"),
    (
        Variety.of("fur peel feathers barbs barbs", 0.2, 0.2),
        Variety.of("skin leather feathers barbs barbs", 0.1, 0.9),
        Variety.of("feathers peel fur barbs striped_fur", 0.8, 0.4),
        Variety.of("spotted_fur peel spotted_fur feathers barbs", 0.5, 0.6),
        Variety.of("hair leather feathers feathers barbs", 0.9, 0.1),
        Variety.of("fur wood striped_fur barbs feathers", 0.4, 0.8),
    ),
    bird,
    80.0,
)
PERSON = Kind(
    "person",
    ("hair", "skin", "shirt", "trousers", "shoe"),
    (
        Variety.of("hair skin plaid twill leather", 0.1, 0.5),
        Variety.of("hair skin knit twill leather", 0.9, 0.2),
        Variety.of("hair skin hoops twill knit", 0.2, 0.9),
        Variety.of("hair skin hoops leather leather", 0.8, 0.6),
        Variety.of("knit skin plaid twill leather", 0.3, 0.3),
        Variety.of("wicker skin twill plaid leather", 0.7, 0.8),
    ),
    person,
    70.0,
)
