"""What a stage's row shows of an image, as a label map: 0 = background, labels from 1."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from partdistillation.functional.masks import EncodedMasks
from partdistillation.functional.metrics import label_map
from partdistillation.runs.records import Object, PartRow, Proposal, ProposalRow, Row, Segment, SegmentRow

LabelMap = Int[np.ndarray, "height width"]


def numbered_map(
    row: Row, masks: Sequence[Object | Segment | Proposal], heights: Sequence[float] = ()
) -> LabelMap:
    """Label masks from 1 in order. Where they overlap the highest is seen; without heights, the last."""
    order = sorted(range(len(masks)), key=heights.__getitem__) if heights else range(len(masks))
    return _painted(row, [masks[place].rle for place in order], order)


def segment_map(row: SegmentRow) -> LabelMap:
    """Numbers that mean nothing; smaller segments lie under larger ones."""
    segments = [segment for instance in row.objects for segment in instance.segments]
    return numbered_map(row, segments, [segment.area for segment in segments])


def proposal_map(row: ProposalRow) -> LabelMap:
    """Numbers that mean nothing, the best score on top."""
    proposals = [proposal for instance in row.objects for proposal in instance.proposals]
    return numbered_map(row, proposals, [proposal.score for proposal in proposals])


def part_map(row: PartRow) -> LabelMap:
    """Part ids + 1, the best score on top. A part id is one of its object's class: the same one of another
    class is another part.
    """
    parts = (part for labelled in row.objects for part in labelled.parts)
    ordered = sorted(parts, key=lambda part: part.score)
    return _painted(row, [part.rle for part in ordered], [part.part for part in ordered])


def _painted(row: Row, rles: Sequence[bytes], ids: Sequence[int]) -> LabelMap:
    if not rles:
        return np.zeros((row.height, row.width), np.int64)
    return np.ascontiguousarray(label_map(EncodedMasks(rles, row.height, row.width), ids))


def matched(labels: LabelMap, reference: LabelMap) -> LabelMap:
    """Numbers that mean nothing, changed to those of a reference that they share most pixels with.

    One to one (Hungarian); those without a counterpart get numbers that the reference doesn't have.
    """
    counts = np.zeros((labels.max() + 1, reference.max() + 1), np.int64)
    np.add.at(counts, (labels, reference), 1)
    mine, theirs = linear_sum_assignment(counts[1:, 1:], maximize=True)
    names = np.zeros(len(counts), np.int64)
    names[mine + 1] = np.where(counts[mine + 1, theirs + 1] > 0, theirs + 1, 0)
    new = np.flatnonzero(names[1:] == 0) + 1
    names[new] = reference.max() + 1 + np.arange(len(new))
    renamed: LabelMap = names[labels]
    return renamed
