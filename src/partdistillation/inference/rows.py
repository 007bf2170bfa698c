"""The parts of an image's objects as a row, as a stage keeps them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from partdistillation.data.images import load_image_of
from partdistillation.functional.masks import decode, encode
from partdistillation.inference.base import MIN_RATIO, MIN_SCORE, unknown_class
from partdistillation.inference.inputs import ObjectMask
from partdistillation.inference.result import FoundPart
from partdistillation.inference.segmenter import PartSegmenter
from partdistillation.runs.records import ObjectParts, ObjectRow, Part, PartRow


def part_row(
    segmenter: PartSegmenter,
    row: ObjectRow,
    images_dir: Path,
    *,
    min_ratio: float = MIN_RATIO,
    min_score: float = MIN_SCORE,
) -> PartRow:
    """The parts of one image's objects, as the part model sees them.

    A part's `probability` is its score. Raises InputError where the image can't be read any more, or has
    another size.
    """
    masks = [
        ObjectMask(decode(instance.rle, row.height, row.width), instance.category, instance.score)
        for instance in row.objects
    ]
    pixels = load_image_of(images_dir / row.file_name, row.height, row.width)
    result = segmenter(pixels, masks, min_ratio=min_ratio, min_score=min_score)
    unknown = sorted({mask.category for mask in masks} - set(segmenter.class_names))
    reasons = [row.reason, *(unknown_class(category, segmenter.class_names) for category in unknown)]
    labelled = (
        ObjectParts(instance.object_id, instance.category, tuple(map(_record, segmented.parts)))
        for instance, segmented in zip(row.objects, result.objects, strict=True)
    )
    return replace(row.to(PartRow, labelled), reason="; ".join(filter(None, reasons)))


def _record(part: FoundPart) -> Part:
    return Part(part.part, part.score, part.score, int(np.count_nonzero(part.mask)), encode(part.mask))
