"""The part model on new photographs: `PartSegmenter` for one, `predict` for a folder of them."""

from partdistillation.inference.folder import predict
from partdistillation.inference.inputs import ObjectMask
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.inference.rows import part_row
from partdistillation.inference.segmenter import PartSegmenter

__all__ = ["FoundObject", "FoundPart", "ObjectMask", "PartSegmenter", "Result", "part_row", "predict"]
