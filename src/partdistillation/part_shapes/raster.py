"""Which piece is on top at each sample, and which way its surface faces there."""

import math

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.part_shapes.table import Floats, Ints, Table


@compiled
def limb_depth(n: Floats, x: float, y: float) -> tuple[float, float, float, float]:
    """Depth under the edge of a limb, its radius there, and the outward direction."""
    ex, ey = n[2] - n[0], n[3] - n[1]
    t = ((x - n[0]) * ex + (y - n[1]) * ey) / max(ex * ex + ey * ey, 1e-12)
    t = min(max(t, 0.0), 1.0)
    dx, dy = x - n[0] - t * ex, y - n[1] - t * ey
    d = math.sqrt(dx * dx + dy * dy) + 1e-9
    radius = n[4] + t * (n[5] - n[4])
    return radius - d, radius, dx / d, dy / d


@compiled
def ellipse_depth(n: Floats, x: float, y: float) -> tuple[float, float, float, float]:
    """The same for an ellipse; the depth is exact at its edge and its centre."""
    px, py = (x - n[0]) * n[4] + (y - n[1]) * n[5], (y - n[1]) * n[4] - (x - n[0]) * n[5]
    least = min(n[2], n[3])
    k = math.sqrt((px / n[2]) ** 2 + (py / n[3]) ** 2)
    gx, gy = px / (n[2] * n[2]), py / (n[3] * n[3])
    g = math.sqrt(gx * gx + gy * gy) + 1e-9
    gx, gy = gx / g, gy / g
    return (1.0 - k) * least, least, gx * n[4] - gy * n[5], gx * n[5] + gy * n[4]


@compiled
def polygon_depth(p: Floats, rounding: float, x: float, y: float) -> tuple[float, float, float, float]:
    """The same for a polygon grown by `rounding`; its radius is not known (0)."""
    best, gx, gy, inside = 1e18, 0.0, 0.0, False
    j = len(p) - 1
    for i in range(len(p)):
        ex, ey, wx, wy = p[j, 0] - p[i, 0], p[j, 1] - p[i, 1], x - p[i, 0], y - p[i, 1]
        t = min(max((wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-18), 0.0), 1.0)
        dx, dy = wx - t * ex, wy - t * ey
        d = dx * dx + dy * dy
        if d < best:
            best, gx, gy = d, dx, dy
        if (p[i, 1] > y) != (p[j, 1] > y) and wx < ex * wy / ey:
            inside = not inside
        j = i
    d = math.sqrt(best)
    sign = -1.0 if inside else 1.0
    return rounding - sign * d, 0.0, sign * gx / (d + 1e-9), sign * gy / (d + 1e-9)


@compiled
def draw_piece(
    table: Table, index: int, top: NDArray[np.int32], normal: NDArray[np.float32], owners: NDArray[np.int32]
) -> int:
    """Paint a piece over what is there; returns the samples that its group newly covers."""
    kind, n, box, owner = table.kind[index], table.numbers[index], table.box[index], table.group[index]
    p = table.points[table.first[index] : table.first[index + 1]]
    forward, inverse = table.forward[owner], table.inverse[owner]
    size = top.shape[0]
    x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
    for corner in range(4):
        bx, by = box[2 * (corner % 2)], box[1 + 2 * (corner // 2)]
        x, y = forward[0] * bx + forward[1] * by + forward[2], forward[3] * bx + forward[4] * by + forward[5]
        x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
    left, right = max(int(x0 * size), 0), min(int(x1 * size) + 2, size)
    above, below = max(int(y0 * size), 0), min(int(y1 * size) + 2, size)
    new = 0
    for row in range(above, below):
        for column in range(left, right):
            ix, iy = (column + 0.5) / size, (row + 0.5) / size
            x, y = (
                inverse[0] * ix + inverse[1] * iy + inverse[2],
                inverse[3] * ix + inverse[4] * iy + inverse[5],
            )
            if x < box[0] or x > box[2] or y < box[1] or y > box[3]:
                continue
            if kind == 0:
                depth, radius, gx, gy = limb_depth(n, x, y)
            elif kind == 1:
                depth, radius, gx, gy = ellipse_depth(n, x, y)
            else:
                depth, radius, gx, gy = polygon_depth(p, n[0], x, y)
            if n[7] > 0.0:
                f = n[8]
                depth += (
                    n[7] * math.sin(f * x + 2.0 * math.sin(0.7 * f * y + index)) * math.sin(f * y + index)
                )
            if depth <= 0.0:
                continue
            if owners[row, column] != owner:
                owners[row, column] = owner
                new += 1
            slope = 1.0 - min(depth / min(n[6], radius) if radius > 0.0 else depth / n[6], 1.0)
            top[row, column] = index
            normal[row, column, 0], normal[row, column, 1] = slope * gx, slope * gy
    return new


@compiled
def draw_pieces(
    table: Table, size: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], Ints]:
    """Paint all pieces in order on `size` x `size` samples.

    Returns the top piece, the normal's x and y, the top piece's group, and the samples that each
    group would cover if nothing were in front of it.
    """
    top = np.zeros((size, size), np.int32)
    normal = np.zeros((size, size, 2), np.float32)
    owners = np.full((size, size), -1, np.int32)
    covered = np.zeros(len(table.forward), np.int64)
    for i in range(len(table.kind)):
        covered[table.group[i]] += draw_piece(table, i, top, normal, owners)
    return top, normal, owners, covered


@compiled
def vote(top: NDArray[np.int32], label: NDArray[np.int32]) -> NDArray[np.int32]:
    """A label for each pixel: the most frequent of its 2 x 2 samples' labels, the first one seen in a tie."""
    size = top.shape[0] // 2
    out = np.empty((size, size), np.int32)
    for y in range(size):
        for x in range(size):
            a, b = label[top[2 * y, 2 * x]], label[top[2 * y, 2 * x + 1]]
            c, d = label[top[2 * y + 1, 2 * x]], label[top[2 * y + 1, 2 * x + 1]]
            if a in (b, c, d) or (b != c and b != d and c != d):
                out[y, x] = a
            elif b in (c, d):
                out[y, x] = b
            else:
                out[y, x] = c
    return out
