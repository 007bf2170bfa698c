"""How materials look: compiled functions from a place on a surface to its tone, shade and gloss.

A texture is a function of (u, v), in units of about the finest detail, and a seed. It returns
`tone` (0 = the part's dark colour, 1 = its light colour), `shade` (a factor on the brightness) and
`gloss` (strength of the highlight). Wheels also use `reach`, the wheel's radius in the same units.
"""

import math

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.part_shapes.materials import Material
from partdistillation.part_shapes.table import Table

Look = tuple[float, float, float]


@compiled
def lattice(x: int, y: int, seed: int) -> float:
    """A hash of a lattice point, uniform in [0, 1)."""
    h = (x * 374761393 + y * 668265263 + seed * 974634541) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 668265263) & 0xFFFFFFFF
    return float(h ^ (h >> 16)) / 4294967296.0


@compiled
def step(low: float, high: float, x: float) -> float:
    """Smooth step: 0 below `low`, 1 above `high` (or the other way round)."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def wave(x: float) -> float:
    """A sine of period 1, in 0..1."""
    return 0.5 + 0.5 * math.sin(2.0 * math.pi * x)


@compiled
def noise(x: float, y: float, seed: int) -> float:
    """Value noise of period 1, in 0..1."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    a, b = x - fx, y - fy
    a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
    top = lattice(i, j, seed) * (1.0 - a) + lattice(i + 1, j, seed) * a
    low = lattice(i, j + 1, seed) * (1.0 - a) + lattice(i + 1, j + 1, seed) * a
    return top * (1.0 - b) + low * b


@compiled
def clouds(x: float, y: float, seed: int) -> float:
    """Three octaves of noise."""
    return (
        0.55 * noise(x, y, seed)
        + 0.3 * noise(2.1 * x, 2.1 * y, seed + 1)
        + 0.15 * noise(4.3 * x, 4.3 * y, seed + 2)
    )


@compiled
def cells(x: float, y: float, seed: int) -> tuple[float, float, float, float, float]:
    """Worley noise: nearest and second distance, the offset from the nearest seed, its random number."""
    i, j = math.floor(x), math.floor(y)
    first, second, ox, oy, name = 9.0, 9.0, 0.0, 0.0, 0.0
    for q in range(j - 1, j + 2):
        for p in range(i - 1, i + 2):
            dx = x - p - 0.15 - 0.7 * lattice(p, q, seed)
            dy = y - q - 0.15 - 0.7 * lattice(p, q, seed + 7)
            d = dx * dx + dy * dy
            if d < first:
                first, second, ox, oy, name = d, first, dx, dy, lattice(p, q, seed + 13)
            elif d < second:
                second = d
    return math.sqrt(first), math.sqrt(second), ox, oy, name


@compiled
def paint(u: float, v: float, seed: int) -> Look:
    seam = min(abs(u / 6.0 - round(u / 6.0)) * 6.0, abs(v / 4.5 + 0.3 - round(v / 4.5 + 0.3)) * 4.5)
    reflection = step(0.42, 0.58, noise(u * 0.12, v * 0.45 + 0.15 * u, seed))
    return 0.25 + 0.7 * reflection, 0.35 + 0.65 * step(0.05, 0.35, seam), 0.9


@compiled
def metal(u: float, v: float, seed: int) -> Look:
    streak = noise(u * 0.22, v * 2.6, seed)
    band = wave(v * 0.23 + 0.35 * noise(u * 0.1, v * 0.2, seed + 3))
    return 0.15 + 0.85 * band * band * (0.6 + 0.4 * streak) + 0.2 * (streak - 0.5), 0.75 + 0.45 * streak, 1.0


@compiled
def glass(u: float, v: float, seed: int) -> Look:
    slant = (u + 0.8 * v) * 0.16 + lattice(1, 2, seed)
    x = slant - math.floor(slant)
    glare = step(0.42, 0.46, x) * step(0.72, 0.68, x) + 0.8 * step(0.8, 0.83, x) * step(0.93, 0.9, x)
    fade = 0.5 + 0.5 * math.sin(v * 0.35 + 6.0 * lattice(3, 4, seed))
    return min(0.75 * glare + 0.35 * fade, 1.0), 0.55 + 0.6 * min(glare, 1.0), 0.5


@compiled
def tyre(r: float, angle: float) -> Look:
    tread = step(0.3, 0.6, wave(angle * 24.0 / (2.0 * math.pi) + 2.0 * r))
    wall = step(0.03, 0.0, abs(r - 0.78))
    return 0.12 * tread + 0.5 * wall, 0.45 + 0.25 * tread, 0.1


@compiled
def spokes(u: float, v: float, reach: float, seed: int) -> Look:
    r, angle = math.hypot(u, v) / reach, math.atan2(v, u)
    if r > 0.74:
        return tyre(r, angle)
    count = 7.0 + math.floor(lattice(5, 5, seed) * 5.0)
    near = abs((angle * count / (2.0 * math.pi)) % 1.0 - 0.5) * 2.0 * math.pi * r / count
    bright = max(step(0.085, 0.03, near), step(0.24, 0.18, r), step(0.6, 0.66, r))
    return 0.05 + 0.95 * bright, 0.4 + 0.75 * bright, 0.3


@compiled
def disc(u: float, v: float, reach: float, seed: int) -> Look:
    r, angle = math.hypot(u, v) / reach, math.atan2(v, u)
    if r > 0.7:
        return tyre(r, angle)
    count = 5.0 + math.floor(lattice(5, 5, seed) * 2.0)
    turn = ((angle * count / (2.0 * math.pi)) % 1.0 - 0.5) * 2.0 * math.pi / count
    hole = step(0.16, 0.11, math.hypot(r * math.cos(turn) - 0.42, r * math.sin(turn)))
    sheen = 0.5 + 0.5 * math.cos(2.0 * angle + 6.0 * lattice(6, 5, seed))
    return (0.35 + 0.65 * sheen) * (1.0 - hole), 1.05 - 0.8 * hole, 0.6


@compiled
def fur(u: float, v: float, seed: int) -> Look:
    bend = 1.4 * noise(u * 0.25, v * 0.25, seed)
    hair = noise(u * 0.42 + 0.6 * v, v * 1.5 + bend - 0.3 * u, seed + 1)
    patch = noise(u * 0.16, v * 0.16, seed + 2)
    return step(0.25, 0.8, 0.75 * hair + 0.3 * patch), 0.6 + 0.55 * hair, 0.05


@compiled
def spotted_fur(u: float, v: float, seed: int) -> Look:
    near, far, _, _, name = cells(u * 0.36, v * 0.36, seed)
    spot = step(0.12, 0.24, far - near) * step(0.15, 0.3, name)
    hair = noise(u * 0.5, v * 1.7, seed + 1)
    return 1.0 - 0.85 * spot * (0.7 + 0.3 * hair), 0.75 + 0.4 * hair, 0.05


@compiled
def striped_fur(u: float, v: float, seed: int) -> Look:
    stripe = wave(u * 0.3 + 0.9 * noise(u * 0.2, v * 0.28, seed))
    hair = noise(u * 0.5, v * 1.7, seed + 1)
    return step(0.38, 0.62, stripe + 0.2 * (hair - 0.5)), 0.75 + 0.4 * hair, 0.05


@compiled
def hair(u: float, v: float, seed: int) -> Look:
    bend = 0.8 * math.sin(u * 0.55 + 6.0 * lattice(1, 1, seed)) + 0.8 * noise(u * 0.2, v * 0.2, seed)
    strand = noise(u * 0.1, v * 1.9 + 1.6 * bend, seed + 1)
    shine = wave(u * 0.14 + 0.2 * strand + lattice(2, 1, seed))
    return step(0.25, 0.75, strand) * (0.45 + 0.55 * shine), 0.55 + 0.6 * strand, 0.15


@compiled
def feathers(u: float, v: float) -> Look:
    row = math.floor(u * 0.62)
    across = v * 0.55 + 0.5 * (row % 2.0)
    a, b = u * 0.62 - row, across - math.floor(across) - 0.5
    rim = a + 2.6 * b * b
    if rim > 0.95:
        rim -= 0.95
    return step(0.15, 0.95, rim), 0.6 + 0.5 * step(0.0, 0.35, rim), 0.1


@compiled
def barbs(u: float, v: float, seed: int) -> Look:
    lane = v * 0.42 + 0.12 * math.sin(u * 0.2)
    name, a = math.floor(lane), lane - math.floor(lane) - 0.5
    bar = wave(u * 0.24 + 0.35 * abs(a) + lattice(int(name), 3, seed) * 0.4)
    shaft = step(0.1, 0.03, abs(a))
    gap = step(0.5, 0.36, abs(a))
    return max(step(0.35, 0.65, bar), shaft), 0.35 + 0.7 * gap, 0.1


@compiled
def leaf(u: float, v: float, seed: int) -> tuple[float, float]:
    """One layer of leaves: how much of a leaf is here, and its tone (one half is lit, the rib is dark)."""
    _, _, dx, dy, name = cells(u, v, seed)
    turn = 6.3 * name
    along, off = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
    body = step(1.0, 0.75, (along / 0.62) ** 2 + (off / 0.34) ** 2)
    return body, (0.4 + 0.6 * step(-0.06, 0.06, off)) * (1.0 - 0.6 * step(0.07, 0.02, abs(off)))


@compiled
def leaves(u: float, v: float, seed: int) -> Look:
    near, tone = leaf(u * 0.34, v * 0.34, seed)
    if near > 0.5:
        return tone, 0.55 + 0.6 * near * tone, 0.2
    far, tone = leaf(u * 0.34 + 0.5, v * 0.34 + 0.5, seed + 31)
    return 0.5 * far * tone, 0.22 + 0.33 * far, 0.05


@compiled
def needles(u: float, v: float, seed: int) -> Look:
    near, _, dx, dy, name = cells(u * 0.3, v * 0.3, seed)
    ray = wave(math.atan2(dy, dx) * 11.0 / (2.0 * math.pi) + name)
    tip = step(0.75, 0.2, near)
    return ray * tip, 0.3 + 0.8 * tip * (0.4 + 0.6 * ray), 0.1


@compiled
def bark(u: float, v: float, seed: int) -> Look:
    ridge = abs(2.0 * noise(u * 0.2, v * 0.85 + 0.8 * noise(u * 0.3, v * 0.3, seed), seed + 1) - 1.0)
    crack = step(0.02, 0.3, ridge)
    return crack * (0.55 + 0.45 * noise(u * 0.9, v * 0.9, seed + 4)), 0.3 + 0.8 * crack, 0.0


@compiled
def birch(u: float, v: float, seed: int) -> Look:
    dash = noise(u * 1.1, v * 0.32, seed)
    scar = step(0.66, 0.78, dash)
    return 1.0 - 0.95 * scar, 0.8 + 0.25 * noise(u * 0.7, v * 0.3, seed + 1), 0.05


@compiled
def wood(u: float, v: float, seed: int) -> Look:
    ring = v * 0.5 + 1.5 * noise(u * 0.09, v * 0.22, seed)
    line = wave(ring)
    pore = noise(u * 0.35, v * 3.0, seed + 1)
    return 0.2 + 0.8 * step(0.15, 0.75, line) * (0.75 + 0.25 * pore), 0.7 + 0.4 * pore, 0.25


@compiled
def planks(u: float, v: float, seed: int) -> Look:
    board = math.floor(v / 2.6)
    a = v / 2.6 - board
    end = (u / 9.0 + lattice(int(board), 2, seed)) % 1.0
    gap = min(step(0.02, 0.12, min(a, 1.0 - a)), step(0.01, 0.05, min(end, 1.0 - end)))
    line = wave(v * 0.9 + 1.3 * noise(u * 0.12, v * 0.5 + 9.0 * board, seed))
    return gap * (0.2 + 0.35 * lattice(int(board), 5, seed) + 0.45 * line), 0.3 + 0.7 * gap, 0.1


@compiled
def knit(u: float, v: float) -> Look:
    column = v * 0.46
    a = abs(column - math.floor(column) - 0.5)
    stitch = wave(u * 0.55 + 1.3 * a)
    groove = step(0.0, 0.14, min(a, 0.5 - a))
    return step(0.2, 0.8, stitch) * groove, 0.5 + 0.6 * groove * (0.5 + 0.5 * stitch), 0.0


@compiled
def plaid(u: float, v: float, seed: int) -> Look:
    a, b = (u * 0.2 + lattice(1, 7, seed)) % 1.0, (v * 0.2 + lattice(2, 7, seed)) % 1.0
    warp = step(0.4, 0.45, a) * step(0.9, 0.85, a)
    weft = step(0.4, 0.45, b) * step(0.9, 0.85, b)
    thin = max(step(0.05, 0.02, abs(a - 0.2)), step(0.05, 0.02, abs(b - 0.2)))
    return min(0.5 * warp + 0.5 * weft + 0.6 * thin, 1.0), 0.85 + 0.2 * noise(u * 1.5, v * 1.5, seed), 0.0


@compiled
def hoops(u: float, v: float, seed: int) -> Look:
    stripe = step(0.4, 0.6, wave(u * 0.26 + 0.03 * math.sin(v)))
    fold = noise(u * 0.1, v * 0.35, seed)
    return stripe, 0.65 + 0.5 * fold, 0.0


@compiled
def twill(u: float, v: float, seed: int) -> Look:
    rib = wave((u + v) * 0.4)
    fade = noise(u * 0.13, v * 0.3, seed)
    stitch = step(0.3, 0.15, abs(v / 7.0 + 0.25 - round(v / 7.0 + 0.25)) * 7.0) * step(
        0.4, 0.6, wave(u * 0.5)
    )
    return min(0.15 + 0.45 * rib * (0.4 + fade) + 0.3 * fade + stitch, 1.0), 0.65 + 0.35 * rib, 0.0


@compiled
def skin(u: float, v: float, seed: int) -> Look:
    blush = noise(u * 0.22, v * 0.22, seed)
    return step(-0.1, 0.75, blush), 0.95 + 0.15 * blush, 0.25


@compiled
def leather(u: float, v: float, seed: int) -> Look:
    near, far, _, _, name = cells(u * 0.6, v * 0.6, seed)
    grain = step(0.02, 0.2, far - near)
    return grain * (0.2 + 0.6 * noise(u * 0.2, v * 0.2, seed + 2) + 0.2 * name), 0.5 + 0.5 * grain, 0.8


@compiled
def wicker(u: float, v: float) -> Look:
    a, b = u * 0.45, v * 0.45
    over = (math.floor(a) + math.floor(b)) % 2.0
    a, b = a - math.floor(a) - 0.5, b - math.floor(b) - 0.5
    along, off = (a, b) if over > 0.5 else (b, a)
    bulge = math.cos(along * 2.6) * step(0.5, 0.32, abs(off))
    return bulge * (0.5 + 0.5 * over), 0.25 + 0.85 * bulge, 0.2


@compiled
def rope(u: float, v: float, seed: int) -> Look:
    twist = u * 0.42 + v * 0.25
    strand = abs(twist - math.floor(twist) - 0.5) * 2.0
    fibre = noise(u * 0.6 - v * 1.6, v * 0.3, seed)
    return step(1.0, 0.2, strand) * (0.6 + 0.4 * fibre), 0.3 + 0.8 * step(1.0, 0.45, strand), 0.05


@compiled
def brick(u: float, v: float, seed: int) -> Look:
    row = math.floor(v / 2.2)
    a, b = u / 4.6 + 0.5 * (row % 2.0), v / 2.2 - row
    name = lattice(math.floor(a), int(row), seed)
    a = a - math.floor(a)
    joint = min(step(0.02, 0.08, min(a, 1.0 - a)), step(0.04, 0.16, min(b, 1.0 - b)))
    return 1.0 - joint * (0.55 + 0.45 * name), 0.75 + 0.35 * noise(u, v, seed + 1), 0.0


@compiled
def stone(u: float, v: float, seed: int) -> Look:
    near, far, _, dy, name = cells(u * 0.3, v * 0.3, seed)
    joint = step(0.02, 0.16, far - near)
    return joint * (0.25 + 0.6 * name - 0.5 * dy), 0.35 + 0.5 * joint + 0.25 * noise(u, v, seed + 1), 0.1


@compiled
def corrugated(u: float, v: float, seed: int) -> Look:
    fold = wave(u * 0.36)
    rust = step(0.55, 0.75, clouds(u * 0.15, v * 0.15, seed))
    return step(0.1, 0.9, fold) * (1.0 - 0.7 * rust), 0.5 + 0.6 * fold, 0.5


@compiled
def peel(u: float, v: float, seed: int) -> Look:
    side = 0.5 + 0.12 * (math.cos(6.3 * lattice(1, 1, seed)) * u + math.sin(6.3 * lattice(1, 1, seed)) * v)
    dots = step(0.7, 0.85, noise(u * 1.3, v * 1.3, seed))
    return min(max(side + 0.3 * dots, 0.0), 1.0), 1.0, 1.0


@compiled
def eye(u: float, v: float, reach: float) -> Look:
    r = math.hypot(u, v) / reach
    glint = step(0.3, 0.2, math.hypot(u / reach + 0.25, v / reach + 0.3))
    return max(glint, step(0.72, 0.8, r)), 0.12 + 1.3 * max(glint, step(0.72, 0.8, r)), 0.3


@compiled
def grass(u: float, v: float, seed: int) -> Look:
    blade = noise(u * 1.3 + 0.6 * noise(u * 0.4, v * 0.4, seed), v * 0.4, seed + 1)
    return step(0.2, 0.85, 0.75 * blade + 0.35 * noise(u * 0.12, v * 0.12, seed + 2)), 0.6 + 0.5 * blade, 0.0


@compiled
def water(u: float, v: float, seed: int) -> Look:
    ripple = wave(v * 0.35 + 1.2 * noise(u * 0.2, v * 0.5, seed))
    return step(0.3, 1.0, ripple), 0.8 + 0.3 * ripple, 0.0


@compiled
def sky(u: float, v: float, seed: int) -> Look:
    return step(0.42, 0.75, clouds(u * 0.1, v * 0.17, seed)), 1.0, 0.0


@compiled
def sand(u: float, v: float, seed: int) -> Look:
    dune = clouds(u * 0.15, v * 0.3, seed)
    return 0.3 + 0.6 * dune, 0.8 + 0.3 * noise(u * 1.6, v * 1.6, seed + 3), 0.0


@compiled
def tiles(u: float, v: float, seed: int) -> Look:
    a, b = u / 4.0, v / 4.0
    odd = (math.floor(a) + math.floor(b)) % 2.0
    a, b = a - math.floor(a), b - math.floor(b)
    joint = step(0.0, 0.08, min(min(a, 1.0 - a), min(b, 1.0 - b)))
    return 0.15 + 0.7 * odd, 0.6 + 0.3 * joint + 0.2 * noise(u * 0.6, v * 0.6, seed), 0.0


@compiled
def stripes(u: float, v: float, seed: int) -> Look:
    return (
        step(0.4, 0.6, wave(v * 0.14 + 0.1 * noise(u * 0.1, v * 0.1, seed))),
        0.85 + 0.2 * noise(u, v, seed),
        0.0,
    )


@compiled
def texture(material: int, u: float, v: float, reach: float, seed: int) -> Look:
    """The look of a material at (u, v): a plain chain of cases, which is what compiles to a jump table."""
    if material == Material.SPOKES:
        return spokes(u, v, reach, seed)
    if material == Material.DISC:
        return disc(u, v, reach, seed)
    if material == Material.EYE:
        return eye(u, v, reach)
    if material == Material.PAINT:
        return paint(u, v, seed)
    if material == Material.METAL:
        return metal(u, v, seed)
    if material == Material.GLASS:
        return glass(u, v, seed)
    if material == Material.FUR:
        return fur(u, v, seed)
    if material == Material.SPOTTED_FUR:
        return spotted_fur(u, v, seed)
    if material == Material.STRIPED_FUR:
        return striped_fur(u, v, seed)
    if material == Material.HAIR:
        return hair(u, v, seed)
    if material == Material.FEATHERS:
        return feathers(u, v)
    if material == Material.BARBS:
        return barbs(u, v, seed)
    if material == Material.LEAVES:
        return leaves(u, v, seed)
    if material == Material.NEEDLES:
        return needles(u, v, seed)
    if material == Material.BARK:
        return bark(u, v, seed)
    if material == Material.BIRCH:
        return birch(u, v, seed)
    if material == Material.WOOD:
        return wood(u, v, seed)
    if material == Material.PLANKS:
        return planks(u, v, seed)
    if material == Material.KNIT:
        return knit(u, v)
    if material == Material.PLAID:
        return plaid(u, v, seed)
    if material == Material.HOOPS:
        return hoops(u, v, seed)
    if material == Material.TWILL:
        return twill(u, v, seed)
    if material == Material.SKIN:
        return skin(u, v, seed)
    if material == Material.LEATHER:
        return leather(u, v, seed)
    if material == Material.WICKER:
        return wicker(u, v)
    if material == Material.ROPE:
        return rope(u, v, seed)
    if material == Material.BRICK:
        return brick(u, v, seed)
    if material == Material.STONE:
        return stone(u, v, seed)
    if material == Material.CORRUGATED:
        return corrugated(u, v, seed)
    if material == Material.PEEL:
        return peel(u, v, seed)
    if material == Material.GRASS:
        return grass(u, v, seed)
    if material == Material.WATER:
        return water(u, v, seed)
    if material == Material.CLOUDS:
        return sky(u, v, seed)
    if material == Material.SAND:
        return sand(u, v, seed)
    if material == Material.TILES:
        return tiles(u, v, seed)
    if material == Material.STRIPES:
        return stripes(u, v, seed)
    return 0.5, 1.0, 0.0


@compiled
def looks(top: NDArray[np.int32], table: Table) -> NDArray[np.float32]:
    """The look of every sample's top piece, (size, size, 3)."""
    size, frame = top.shape[0], table.frame
    out = np.empty((size, size, 3), np.float32)
    for row in range(size):
        for column in range(size):
            i = top[row, column]
            m, ix, iy = table.inverse[table.group[i]], (column + 0.5) / size, (row + 0.5) / size
            x, y = m[0] * ix + m[1] * iy + m[2] - frame[i, 0], m[3] * ix + m[4] * iy + m[5] - frame[i, 1]
            u, v = frame[i, 2] * x + frame[i, 3] * y, frame[i, 2] * y - frame[i, 3] * x
            tone, shade, gloss = texture(table.material[i], u, v, table.reach[i], table.seed[i])
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = (
                min(max(tone, 0.0), 1.0),
                shade,
                gloss,
            )
    return out
