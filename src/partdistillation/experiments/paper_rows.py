"""What the paper has for the ways to parts that `compare` measures, by the names of its rows.

The paper's method is trained on ImageNet and scored on other data sets, so its rows are zero-shot. Supervised
models are scored on the data set that they learned from, or, zero-shot, on the other of the two. mIoU is
clustered in the main paper (supplement, section 4); AR@200 of supervised models in zero-shot is that of the
class-agnostic ones (supplement, table 2).
"""

from collections.abc import Mapping, Sequence

from partdistillation.evaluation.comparison import Published

_TABLE_2, _TABLE_3 = "paper, table 2", "paper, table 3"
_SUPERVISED, _MAPPED = "supplement, table 2", "supplement, table 3"
_BOTH = "supplement, tables 2 and 3"
_RELEASED = "the authors' released models of ImageNet-1K"

_HERE, _THERE = "paper, PartImageNet", "paper, Pascal Part"
_TO_HERE, _TO_THERE = "paper, zero-shot PartImageNet", "paper, zero-shot Pascal Part"
_RELEASED_HERE, _RELEASED_THERE = "released, PartImageNet", "released, Pascal Part"

PAPER_ROWS: Mapping[str, Sequence[Published]] = {
    "proposals: overlapping": (
        Published(_TO_HERE, _TABLE_3, {"AR@200": 58.0}),
        Published(_RELEASED_HERE, _RELEASED, {"AR@200": 52.2}),
        Published(_RELEASED_THERE, _RELEASED, {"AR@200": 27.2}),
    ),
    "proposals: unique per pixel": (
        Published(_RELEASED_HERE, _RELEASED, {"AR@200": 30.3}),
        Published(_RELEASED_THERE, _RELEASED, {"AR@200": 14.7}),
    ),
    "part model": (Published(_TO_THERE, _TABLE_2, {"nmi": 52.4, "ari": 75.2}),),
    "part model: clustered": (
        Published(_TO_HERE, _TABLE_3, {"c_miou": 48.0}),
        Published(_RELEASED_HERE, _RELEASED, {"c_miou": 46.0}),
        Published(_RELEASED_THERE, _RELEASED, {"c_miou": 22.3}),
    ),
    "one-stage": (Published(_TO_HERE, _TABLE_3, {"AR@200": 36.2}),),
    "one-stage: clustered": (Published(_TO_HERE, _TABLE_3, {"c_miou": 31.9}),),
    "supervised": (
        Published(_HERE, _BOTH, {"AR@200": 73.4, "c_miou": 68.7}),
        Published(_THERE, _BOTH, {"AR@200": 44.9, "c_miou": 43.2}),
        Published(_TO_HERE, _MAPPED, {"c_miou": 16.3}),
        Published(_TO_THERE, _MAPPED, {"c_miou": 10.8}),
    ),
    "supervised: clustered": (
        Published(_HERE, _SUPERVISED, {"c_miou": 48.7}),
        Published(_THERE, _SUPERVISED, {"c_miou": 29.0}),
        Published(_TO_HERE, _MAPPED, {"c_miou": 34.9}),
        Published(_TO_THERE, _MAPPED, {"c_miou": 21.8}),
    ),
    "supervised-agnostic: overlapping": (
        Published(_HERE, _SUPERVISED, {"AR@200": 73.7}),
        Published(_THERE, _SUPERVISED, {"AR@200": 47.3}),
        Published(_TO_HERE, _TABLE_3, {"AR@200": 45.6}),
    ),
    "contrastive": (Published(_THERE, _TABLE_2, {"nmi": 48.3, "ari": 72.4}),),
}
"""In percent. The released models' mIoU is taken to be clustered, as the paper's is."""
