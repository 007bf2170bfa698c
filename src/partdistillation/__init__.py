"""PartDistillation: from photographs and object class names to labelled parts, without part labels."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partdistillation.inference import OnnxPartSegmenter, PartSegmenter, Result

if (
    sys.platform == "darwin"
):  # what Apple's GPUs lack is done by the CPU; torch reads this when it is imported
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__version__ = version("partdistillation")
__all__ = ["OnnxPartSegmenter", "PartSegmenter", "Result", "__version__"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # On first use: `import partdistillation` and the command line's help stay quick, without torch.
        if name in ("OnnxPartSegmenter", "PartSegmenter", "Result"):
            return getattr(import_module("partdistillation.inference"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
