"""The part model on new photographs: `PartSegmenter` for one, `predict` for a folder of them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partdistillation.inference.folder import predict
    from partdistillation.inference.inputs import ObjectMask
    from partdistillation.inference.onnx_segmenter import OnnxPartSegmenter
    from partdistillation.inference.result import FoundObject, FoundPart, Result
    from partdistillation.inference.rows import part_row
    from partdistillation.inference.segmenter import PartSegmenter

__all__ = [
    "FoundObject",
    "FoundPart",
    "ObjectMask",
    "OnnxPartSegmenter",
    "PartSegmenter",
    "Result",
    "part_row",
    "predict",
]

if not TYPE_CHECKING:
    _MODULES = {
        "FoundObject": "result",
        "FoundPart": "result",
        "ObjectMask": "inputs",
        "OnnxPartSegmenter": "onnx_segmenter",
        "PartSegmenter": "segmenter",
        "Result": "result",
        "part_row": "rows",
        "predict": "folder",
    }

    def __getattr__(name: str) -> object:
        # On first use: a model in ONNX runs without torch, which may not even be installed.
        if name in _MODULES:
            return getattr(import_module(f"partdistillation.inference.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
