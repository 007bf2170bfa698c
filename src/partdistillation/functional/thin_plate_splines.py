"""Thin-plate splines (Bookstein 1989): smooth deformations of an image that a few points decide.

Places are (x, y) with the image from -1 to 1 along both axes, from edge to edge (not between the centres of
its outer pixels), as in `grid_sample` without `align_corners`.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator
from torch import Tensor
from torch.nn import functional


def regular_points(side: int) -> Float[Tensor, "point 2"]:
    """`side` x `side` points over the image, row by row; the outer ones lie on its edges."""
    places = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(places, places).flip(1)


def pixel_centres(height: int, width: int) -> Float[Tensor, "{height} {width} 2"]:
    """Where the centres of an image's pixels are."""
    x, y = ((2 * torch.arange(size) + 1) / size - 1 for size in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def spline_weights(
    control: Float[Tensor, "control 2"], places: Float[Tensor, "*place 2"]
) -> Float[Tensor, "*place control"]:
    """The spline through values at control points, at other places: it is linear in those values.

    `spline_weights(control, places) @ values` is the function through `values` ("control channel") that
    bends least. It reproduces affine functions exactly; control points that lie on one line have none.
    Computed in double precision.
    """
    through = RBFInterpolator(control.numpy(), np.eye(len(control)), kernel="thin_plate_spline")
    weights = torch.from_numpy(through(places.reshape(-1, 2).numpy()))
    return weights.reshape(*places.shape[:-1], len(control)).to(places.dtype)


def resample(
    maps: Float[Tensor, "batch channel h w"], grid: Float[Tensor, "batch height width 2"]
) -> Float[Tensor, "batch channel height width"]:
    """Bilinear values of `maps` at the places of `grid`; beside the image, those of its edge."""
    return functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def inside(grid: Float[Tensor, "batch height width 2"]) -> Float[Tensor, "batch 1 height width"]:
    """1 where a grid's place lies in the image, else 0."""
    return (grid.abs() <= 1).all(dim=-1)[:, None].to(grid.dtype)
