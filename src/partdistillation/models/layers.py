"""Layers for which PyTorch's own, or transformers', aren't the fastest on a CPU.

They take transformers' modules for their weights and settings, and compute what these compute.
"""

from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.resnet.modeling_resnet import ResNetBackbone, ResNetConvLayer, ResNetShortCut

from partdistillation.kernels.products import linear
from partdistillation.kernels.tracing import takes_kernel


class Linear(nn.Linear):
    """`nn.Linear` that computes with `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        return linear(rows, self.weight, self.bias)


def hasten_linears(model: nn.Module) -> None:
    """Make every `nn.Linear` of a model a `Linear`, in place. Names, weights and state stay as they are."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


class ConvolutionLayer(ResNetConvLayer):
    """A ResNet's convolution, normalised and activated."""

    def forward(self, maps: Tensor) -> Tensor:
        normalized: Tensor = self.activation(
            normalized_convolution(maps, self.convolution, self.normalization)
        )
        return normalized


class ShortCut(ResNetShortCut):
    """A ResNet's convolution past others, normalised."""

    def forward(self, maps: Tensor) -> Tensor:
        return normalized_convolution(maps, self.convolution, self.normalization)


def hasten_resnet(backbone: nn.Module) -> None:
    """Make a ResNet's convolutions the ones above, in place, and its ReLUs overwrite what they are given.

    Nobody else reads that: it is a batch norm's result or a sum's, whose gradients don't need it. Names,
    weights and state stay as they are; other backbones stay as they are altogether.
    """
    if not isinstance(backbone, ResNetBackbone):
        return
    for module in backbone.modules():
        if type(module) is ResNetConvLayer:
            module.__class__ = ConvolutionLayer
        elif type(module) is ResNetShortCut:
            module.__class__ = ShortCut
        elif type(module) is nn.ReLU:
            module.inplace = True


def normalized_convolution(
    maps: Float[Tensor, "batch channel h w"], convolution: nn.Conv2d, norm: nn.BatchNorm2d
) -> Float[Tensor, "batch out height width"]:
    """`norm` of the convolution, in one pass where the norm's statistics are fixed: both are linear."""
    if norm.training or norm.running_mean is None or norm.running_var is None or convolution.bias is not None:
        normalized: Tensor = norm(convolution(maps))
        return normalized
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = convolution.weight * factor[:, None, None, None]
    shift = norm.bias - norm.running_mean * factor
    return nn.functional.conv2d(
        maps, weight, shift, convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    )


def group_norm(
    rows: Float[Tensor, "batch pixel channel"], norm: nn.GroupNorm, *, relu: bool = False
) -> Float[Tensor, "batch pixel channel"]:
    """`norm` of maps given as rows of channels, and ReLU if asked for."""
    if takes_kernel(rows):
        from partdistillation.kernels.group_norm import group_norm  # numba takes most of a second to import

        return group_norm(rows, norm.weight, norm.bias, groups=norm.num_groups, epsilon=norm.eps, relu=relu)
    normalized: Tensor = norm(rows.transpose(1, 2)).transpose(1, 2)
    return normalized.relu() if relu else normalized
