"""From true and predicted parts to numbers: `evaluate(images, protocol=...)`."""

from partdistillation.evaluation.parts import ImageParts, PredictedPart, TruePart
from partdistillation.evaluation.protocol import Evaluator, evaluate
from partdistillation.evaluation.scores import CategoryScore, Evaluation, PartScore

__all__ = [
    "CategoryScore",
    "Evaluation",
    "Evaluator",
    "ImageParts",
    "PartScore",
    "PredictedPart",
    "TruePart",
    "evaluate",
]
