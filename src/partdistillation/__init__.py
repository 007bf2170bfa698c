"""PartDistillation: from photographs and object class names to labelled parts, without part labels."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partdistillation.inference import OnnxPartSegmenter, PartSegmenter, Result

__version__ = version("partdistillation")
__all__ = ["OnnxPartSegmenter", "PartSegmenter", "Result", "__version__"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # On first use: `import partdistillation` and the command line's help stay quick, without torch.
        if name in ("OnnxPartSegmenter", "PartSegmenter", "Result"):
            return getattr(import_module("partdistillation.inference"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
