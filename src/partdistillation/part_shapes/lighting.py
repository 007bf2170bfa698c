"""From looks, colours and a light to pixels: highlights, soft cast shadows, exposure."""

import math

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.part_shapes.compose import Light
from partdistillation.part_shapes.table import Floats, Table


@compiled
def blur_rows(a: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Box blur along the second axis, transposed: twice gives both axes in place again."""
    height, width = a.shape
    out = np.empty((width, height), np.float32)
    for y in range(height):
        total = np.float32(0.0)
        for x in range(-radius, width):
            if x + radius < width:
                total += a[y, x + radius]
            if x - radius - 1 >= 0:
                total -= a[y, x - radius - 1]
            if x >= 0:
                out[x, y] = total / (2 * radius + 1)
    return out


@compiled
def cast_shadow(
    owners: NDArray[np.int32], casts: NDArray[np.bool_], dx: float, dy: float, radius: int
) -> NDArray[np.float32]:
    """Soft shadow of the groups that cast one, moved by (dx, dy) (in 0..1), at half the samples."""
    size = owners.shape[0] // 2
    out = np.zeros((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            sy, sx = y - int(dy * size), x - int(dx * size)
            if 0 <= sy < size and 0 <= sx < size and casts[owners[2 * sy, 2 * sx]]:
                out[y, x] = 1.0
    for _ in range(2):
        out = blur_rows(blur_rows(out, radius), radius)
    return out


@compiled
def lit(
    top: NDArray[np.int32],
    normal: NDArray[np.float32],
    look: NDArray[np.float32],
    shadow: NDArray[np.float32],
    table: Table,
    light: Floats,
    casts: NDArray[np.bool_],
    shadow_depth: float,
) -> NDArray[np.float32]:
    """Linear light of each pixel, (size, size, 3): the mean over its samples.

    `light`: each group's direction towards the light in its own coordinates (x, y, z). Groups that cast a
    shadow don't receive it.
    """
    size, colors = shadow.shape[0], table.colors
    out = np.zeros((size, size, 3), np.float32)
    for row in range(2 * size):
        for column in range(2 * size):
            i = top[row, column]
            g = table.group[i]
            nx, ny = normal[row, column, 0], normal[row, column, 1]
            nz = math.sqrt(max(1.0 - nx * nx - ny * ny, 0.0))
            facing = nx * light[g, 0] + ny * light[g, 1] + nz * light[g, 2]
            mirror = max(2.0 * facing * nz - light[g, 2], 0.0)
            power = table.dim[i] * (0.3 + 0.85 * max(facing, 0.0)) * look[row, column, 1]
            if not casts[g]:
                power *= 1.0 - shadow_depth * shadow[row // 2, column // 2]
            glint = 0.45 * look[row, column, 2] * mirror**12
            tone = look[row, column, 0]
            for c in range(3):
                color = colors[i, 1, c] + tone * (colors[i, 0, c] - colors[i, 1, c])
                out[row // 2, column // 2, c] += 0.25 * (power * color + glint)
    return out


def develop(linear: NDArray[np.float32], light: Light, grain: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The photograph: light falling off across the image, exposure, colour cast, gamma, contrast, grain."""
    size = linear.shape[0]
    ramp = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    falloff = light.exposure * (1.0 + light.slope[0] * ramp[None, :] + light.slope[1] * ramp[:, None])
    gamma = np.sqrt(linear * falloff[:, :, None] * np.array(light.cast, np.float32))
    gamma = 0.5 + light.contrast * (gamma - 0.5) + grain[:, :, None]
    image: NDArray[np.uint8] = (np.clip(gamma, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return image
