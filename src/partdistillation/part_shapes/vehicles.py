"""Car, truck and bicycle, seen from the side, facing right."""

from partdistillation.part_shapes.draw import Draw
from partdistillation.part_shapes.kind import Kind, Variety
from partdistillation.part_shapes.shapes import (
    Piece,
    along,
    blob,
    chain,
    ellipse,
    limb,
    polygon,
    turned,
    wheel,
)


def car(draw: Draw, variety: Variety) -> list[Piece]:
    """Body, window (two or three panes), wheels, bumpers. a: from hatchback to long bonnet; b: height."""
    body, window, rim, bumper = range(4)
    r, roof = draw.near(0.125), -draw.near(0.2 + 0.12 * variety.b)
    belt, sill = draw.uniform(-0.04, 0.0), draw.near(0.15)
    back, front = -0.42 + 0.1 * variety.a * draw.unit(), 0.36 - 0.2 * variety.a
    lean, slope = draw.uniform(0.02, 0.12), draw.uniform(0.1, 0.2)
    rear = [(-0.49, 0.02), (back - 0.02, belt), (back + lean, roof + 0.01), (back + lean + 0.08, roof)]
    screen = [(front - slope - 0.04, roof), (front - slope + 0.03, roof + 0.02), (front, belt)]
    bonnet = [(0.44, belt + 0.035), (0.49, 0.06), (0.49, sill), (-0.49, sill)]
    pieces = [polygon(body, rear + screen + bonnet, rounding=0.015, dome=0.05)]
    posts = (back + 0.025, back + lean + 0.035), (front - 0.03, front - slope - 0.01)
    pieces += _panes(draw, window, *posts, (roof + 0.035, belt))
    low = sill - 0.035
    pieces += [limb(bumper, (x, low - 0.05), (x, low), 0.045, 0.05) for x in (-0.47, 0.47)]
    pieces.append(limb(bumper, (-0.2, sill), (0.2, sill), 0.028, 0.028))
    turn = draw.uniform(0.0, 6.3)
    xs = (-draw.uniform(0.26, 0.33), draw.uniform(0.25, 0.33))
    return pieces + [wheel(rim, (x, sill), r, turn + x) for x in xs]


def _panes(
    draw: Draw, part: int, back: tuple[float, float], front: tuple[float, float], rows: tuple[float, float]
) -> list[Piece]:
    """Window panes between the slanted posts `back` and `front` (x at the bottom, x at the top)."""
    count, post, (top, low) = 2 + draw.integer(2), 0.025, rows
    pieces = []
    for i in range(count):
        t0, t1 = i / count, (i + 1) / count
        x0, x1 = (back[0] + t * (front[0] - back[0]) for t in (t0, t1))
        y0, y1 = (back[1] + t * (front[1] - back[1]) for t in (t0, t1))
        corners = [(x0 + post / 2, low), (y0 + post / 2, top), (y1 - post / 2, top), (x1 - post / 2, low)]
        pieces.append(polygon(part, corners, dome=0.015))
    return pieces


def truck(draw: Draw, variety: Variety) -> list[Piece]:
    """Cab, window, cargo (it may tip up), wheels. a: length of the cargo; b: its height."""
    cab, window, cargo, rim = range(4)
    r, floor = draw.near(0.095), draw.near(0.12)
    joint = 0.26 - 0.2 * variety.a * draw.uniform(0.7, 1.0)
    height, top = draw.near(0.26 + 0.14 * variety.b), draw.near(-0.24)
    bonnet = draw.choice((0.0, 0.0, 0.12))
    tip = draw.choice((0.0, 0.0, draw.uniform(0.1, 0.5)))
    box = [(0.0, 0.0), (0.0, -height), (joint + 0.47, -height * draw.uniform(0.8, 1.05)), (joint + 0.47, 0.0)]
    left, screen = joint + 0.035, 0.5 - bonnet
    nose = [(left, floor), (left, top), (screen - 0.09, top), (screen, -0.03), (0.5, 0.0), (0.5, floor)]
    pieces = [
        limb(cab, (-0.45, floor + 0.01), (0.45, floor + 0.01), 0.035, 0.035, dim=0.7),
        polygon(cargo, turned(box, (-0.5, floor - 0.035), tip), rounding=0.012, dome=0.04, angle=tip),
        polygon(cab, nose, rounding=0.015, dome=0.05),
    ]
    high, back = top + 0.025, left + 0.025
    pane = [(back, 0.005), (back, high), (screen - 0.1, high), (screen - 0.012, 0.005)]
    pieces.append(polygon(window, pane, dome=0.015))
    turn, axles = draw.uniform(0.0, 6.3), [-0.36, -0.36 + 2.2 * r, 0.36][draw.integer(2) :]
    if len(axles) == 2:
        axles[0] = -0.3
    return pieces + [wheel(rim, (x, floor + 0.03), r, turn + x) for x in axles]


def bicycle(draw: Draw, variety: Variety) -> list[Piece]:
    """Wheels, frame (fork, handlebar), seat, basket before or behind. a: wheel size; b: frame height."""
    rim, frame, seat, basket = range(4)
    r = draw.near(0.2 + 0.05 * variety.a, 0.06)
    base, steer, tube = draw.near(0.58, 0.08), draw.uniform(-0.12, 0.12), 0.026
    rear, front = (-base / 2, 0.15), (base / 2, 0.15)
    crank = (-0.03, draw.uniform(0.15, 0.2))
    saddle = (-0.15, -0.12 - 0.1 * variety.b)
    head = (base / 2 - 0.1 + 0.4 * steer, -0.13 - 0.06 * draw.unit())
    grip = along(head, -1.9 + steer, 0.1)
    turn = draw.uniform(0.0, 6.3)
    pieces = [wheel(rim, rear, r, turn), wheel(rim, front, r * draw.choice((1.0, 1.0, 0.8)), turn + 1.0)]
    clamp = (-0.13, -0.06)
    tubes = ((rear, crank), (rear, clamp), (crank, saddle), (clamp, head), (crank, head), (head, front))
    pieces += [limb(frame, a, b, tube, tube) for a, b in tubes]
    pieces += chain(frame, [head, grip, along(grip, draw.uniform(-0.6, 0.6), 0.09)], [tube, tube, tube])
    cushion = [(-0.12, -0.03), (0.0, -0.045), (0.14, 0.0), (0.03, 0.045), (-0.11, 0.06)]
    pieces.append(blob(seat, turned(cushion, saddle, draw.angle(12))))
    place = (head[0] + 0.11, head[1] - 0.01) if draw.chance(0.5) else (rear[0] - 0.02, -0.09)
    w, h = draw.near(0.09), draw.near(0.075)
    corners = turned([(-w, -h), (w, -h), (0.75 * w, h), (-0.75 * w, h)], place, draw.angle(10))
    pieces.append(polygon(basket, corners, rounding=0.012, dome=0.03))
    return [*pieces, ellipse(frame, crank, 0.045, 0.045)]


CAR = Kind(
    "car",
    ("body", "window", "wheel", "bumper"),
    (
        Variety.of("paint glass spokes metal", 0.1, 0.9),
        Variety.of("paint glass disc leather", 0.9, 0.2),
        Variety.of("planks glass spokes metal", 0.4, 0.8),
        Variety.of("paint glass disc metal", 0.4, 0.4),
        Variety.of("planks glass disc leather", 0.1, 0.5),
        Variety.of("paint glass spokes leather", 0.7, 0.7),
    ),
    car,
    50.0,
)
TRUCK = Kind(
    "truck",
    ("cab", "window", "cargo", "wheel"),
    (
        Variety.of("paint glass planks disc", 0.2, 0.2),
        Variety.of("paint glass corrugated disc", 0.3, 0.9),
        Variety.of("paint glass twill spokes", 0.5, 0.7),
        Variety.of("metal glass corrugated spokes", 0.8, 0.4),
        Variety.of("metal glass planks spokes", 0.6, 0.8),
        Variety.of("paint glass stone disc", 0.9, 0.1),
    ),
    truck,
    50.0,
)
BICYCLE = Kind(
    "bicycle",
    ("wheel", "frame", "seat", "basket"),
    (
        Variety.of("spokes metal leather wicker", 0.8, 0.8),
        Variety.of("spokes paint leather wicker", 0.4, 0.3),
        Variety.of("disc metal leather planks", 0.6, 0.4),
        Variety.of("disc paint knit wicker", 0.1, 0.9),
        Variety.of("spokes metal knit planks", 0.2, 0.5),
        Variety.of("spokes wood leather wicker", 0.9, 0.2),
    ),
    bicycle,
    50.0,
)
