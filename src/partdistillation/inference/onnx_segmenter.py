"""A part model in ONNX on new photographs: the parts that `PartSegmenter` finds, without torch.

The folder that `inference.onnx_export` writes is one model: `network.onnx`, from images to queries and mask
logits; `head.safetensors`, the rows of every object class, of which a photograph's objects need a few;
`config.json`; and, where the part model has them, `part_table.json` and `objects_model`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from safetensors import safe_open

from partdistillation.config import Device
from partdistillation.data.canvas import lay_on_canvas
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.inference.base import BasePartSegmenter, LabelledMask
from partdistillation.inference.onnx_parts import (
    OnnxView,
    normalized,
    object_feature,
    part_probabilities,
    segment_parts,
)
from partdistillation.models.onnx_sessions import open_session
from partdistillation.objects import OBJECTS_MODEL, ObjectSegmenter
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.objects.salient_classes import NamedSalientObjects
from partdistillation.runs.digests import require_whole
from partdistillation.runs.part_table import FILE as PART_TABLE
from partdistillation.runs.part_table import PartTable, read_part_table

NETWORK, HEAD, CONFIG = "network.onnx", "head.safetensors", "config.json"
MODEL_TYPE = "partdistillation-onnx"
INPUT, OUTPUTS = "pixels", ("queries", "mask_logits", "features")


@dataclass(frozen=True)
class OnnxInfo:
    """What `config.json` says of a model in ONNX."""

    class_names: tuple[str, ...]
    num_parts: int
    """Parts an object class."""
    image_size: int
    """Longest side of images, in pixels, that the network reads."""
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    model_type: str = MODEL_TYPE

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


class OnnxPartSegmenter(BasePartSegmenter[OnnxView]):
    """Finds the parts of objects in images, as `PartSegmenter`, by onnxruntime.

    Examples:
        >>> segmenter = OnnxPartSegmenter.from_pretrained("out/parts_onnx")
        >>> segmenter("photo.jpg", [(mask, "car")]).save("parts.png")
    """

    def __init__(
        self,
        folder: Path,
        session: Any,
        info: OnnxInfo,
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: PartTable | None = None,
    ) -> None:
        """Wrap an onnxruntime session of the network in `folder`, where the other files are.

        Raises:
            CheckpointError: it isn't a part model's network, or the head doesn't fit it.
            InputError: the table is about part classes that the model doesn't have.
        """
        super().__init__(info.class_names, info.num_parts, part_names, part_table)
        inputs, outputs = (
            [entry.name for entry in ends] for ends in (session.get_inputs(), session.get_outputs())
        )
        if inputs != [INPUT] or outputs != [*OUTPUTS]:
            raise CheckpointError(
                f"{folder / NETWORK}: expected a part model, from {INPUT} to {', '.join(OUTPUTS)}; found "
                f"{', '.join(inputs)} to {', '.join(outputs)}; `partdistill export-onnx` writes one"
            )
        self.info = info
        self._folder, self._session = folder, session
        self._head = _open_head(folder / HEAD, info, session.get_outputs()[0].shape[-1])

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: Device = "auto",
        part_names: Mapping[str, Sequence[str]] | None = None,
        part_table: str | Path | PartTable | None = None,
    ) -> "OnnxPartSegmenter":
        """Load what `partdistill export-onnx` has written.

        `device` is "cuda" or "auto" for a GPU where onnxruntime has it. `part_table` is one, or its file: by
        default the file `part_table.json` in the folder, if it is there.

        Raises:
            CheckpointError: it is damaged or something else, or onnxruntime isn't installed.
            InputError: the part table can't be used with this model.
        """
        folder = Path(source).expanduser()
        info = _read_config(folder)
        require_whole(folder)
        if part_table is None:
            part_table = folder / PART_TABLE if (folder / PART_TABLE).is_file() else PartTable()
        if not isinstance(part_table, PartTable):
            part_table = read_part_table(Path(part_table))
        session = open_session(folder / NETWORK, device, extra="onnx")
        return cls(folder, session, info, part_names, part_table)

    @cached_property
    def objects_finder(self) -> ObjectSegmenter:
        """What stands out in a photograph, where the part model was learned from such objects.

        Raises:
            ConfigError: it was not.
            CheckpointError: the folder's `objects_model` is damaged.
        """
        folder = self._folder / OBJECTS_MODEL
        if not (folder / MEANS).is_file():
            raise ConfigError(
                "expected objects (masks with classes), or a saliency network to find them; found neither in "
                f"{self._folder}: give objects, or use PartSegmenter with PyTorch, which runs instance "
                "segmentation models too"
            )
        return NamedSalientObjects.from_pretrained(folder, self._feature, "cpu")

    def _feature(
        self, image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
    ) -> Float32[np.ndarray, " channel"]:
        return object_feature(self._look(image), mask)

    def _look(self, image: UInt8[np.ndarray, "height width 3"]) -> OnnxView:
        canvas, geometry = lay_on_canvas(image, self.info.image_size)
        pixels = normalized(canvas, self.info.pixel_mean, self.info.pixel_std)
        queries, logits, features = self._session.run([*OUTPUTS], {INPUT: pixels})
        return OnnxView(queries, logits, features, geometry)

    def _labelled(
        self,
        view: OnnxView,
        mask: Bool[np.ndarray, "height width"],
        object_class: int,
        min_ratio: float,
        min_score: float,
    ) -> list[LabelledMask]:
        own = self._head.get_slice("rows")[object_class : object_class + 1]
        rows = np.vstack([own.reshape(self.num_parts, -1), self._head.get_tensor("no_object")])
        probabilities = part_probabilities(view.queries, rows)
        return segment_parts(view, probabilities, mask, min_ratio=min_ratio, min_score=min_score)


def _open_head(path: Path, info: OnnxInfo, dim: object) -> Any:
    """The table of all object classes' rows, which is read as needed."""
    try:
        head: Any = safe_open(path, framework="numpy")
        shapes = {name: head.get_slice(name).get_shape() for name in sorted(head.keys())}
    except Exception as error:  # safetensors has its own
        raise CheckpointError(f"{path}: expected the rows of object classes: {error}") from error
    if not isinstance(dim, int):
        raise CheckpointError(f"{path.parent / NETWORK}: expected queries of a fixed width, found {dim!r}")
    expected = {"no_object": [dim + 1], "rows": [len(info.class_names), info.num_parts * (dim + 1)]}
    if shapes != expected:
        raise CheckpointError(f"{path}: expected {expected}, found {shapes}; export the model again")
    return head


def _read_config(folder: Path) -> OnnxInfo:
    """Raises CheckpointError where the folder isn't what `partdistill export-onnx` writes."""
    path = folder / CONFIG
    advice = "`partdistill export-onnx PART_MODEL --out FOLDER` writes one"
    if not path.is_file():
        raise CheckpointError(f"{folder}: expected the folder of a part model in ONNX, found none; {advice}")
    try:
        values = json.loads(path.read_bytes())
        kind = values.get("model_type")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise CheckpointError(f"{path}: expected the settings of a part model in ONNX: {error}") from error
    if kind != MODEL_TYPE:
        raise CheckpointError(
            f"{folder}: expected a part model in ONNX, found one of type {kind!r}; {advice}"
        )
    try:
        return OnnxInfo(
            tuple(map(_text, values["class_names"])),
            _count(values["num_parts"]),
            _count(values["image_size"]),
            _three(values["pixel_mean"]),
            _three(values["pixel_std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); {advice}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a name, found {value!r}")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 1:
        raise TypeError(f"expected a positive integer, found {value!r}")
    return value


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
