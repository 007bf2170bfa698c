"""The part model on new photographs: `PartSegmenter` for one, `predict` for a folder of them."""

from partdistillation.inference.folder import predict
from partdistillation.inference.segmenter import ObjectMask, PartSegmenter, part_row
from partdistillation.result import FoundObject, FoundPart, Result

__all__ = ["FoundObject", "FoundPart", "ObjectMask", "PartSegmenter", "Result", "part_row", "predict"]
