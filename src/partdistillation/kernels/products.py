"""Matrix products by the faster of PyTorch's libraries."""

from jaxtyping import Float
from torch import Tensor, nn

from partdistillation.kernels.tracing import takes_kernel

_LEAST_PRODUCTS = 2**23
"""From this number of multiplications on, a product is worth another library's preparations."""
_IMAGES = range(16, 65)
"""With so many images PyTorch takes oneDNN for a 1 x 1 convolution, whatever the number of threads."""


def linear(
    rows: Float[Tensor, "*batch channel"], weight: Float[Tensor, "out channel *one"], bias: Tensor | None
) -> Float[Tensor, "*batch out"]:
    """`nn.functional.linear`; for many rows on a CPU as a convolution of images that are made of them.

    PyTorch gives convolutions to oneDNN, but float32 products to MKL, which takes twice as long on processors
    that aren't Intel's. `weight` may be that of a convolution of 1 x 1 pixels.
    """
    weight = weight.flatten(1)
    if not takes_kernel(rows) or weight.dtype != rows.dtype:
        return nn.functional.linear(rows, weight, bias)
    count = rows.shape[:-1].numel()
    images = next((number for number in _IMAGES if count % number == 0), 0)
    if not images or count * weight.numel() < _LEAST_PRODUCTS:
        return nn.functional.linear(rows, weight, bias)
    maps = rows.reshape(images, count // images, 1, rows.shape[-1]).permute(0, 3, 1, 2)
    out = nn.functional.conv2d(maps, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*rows.shape[:-1], len(weight))
