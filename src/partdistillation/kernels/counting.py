"""What is counted of detections and pixels by the score of `functional.metrics` and `average_precision`."""

import numpy as np
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled


@compiled
def take_free(ranked: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whether each proposal (rows, best first) takes a true part (columns) at each threshold."""
    proposals, parts = ranked.shape
    hits = np.zeros((proposals, len(limits)), np.int64)
    free = np.empty(parts, np.bool_)
    for i in range(len(limits)):
        free[:] = True
        for j in range(proposals):
            best, most = -1, limits[i]
            for part in range(parts):
                if free[part] and ranked[j, part] >= most:  # of equals the last, as pycocotools
                    best, most = part, ranked[j, part]
            if best >= 0:
                free[best] = False
                hits[j, i] = 1
    return hits


@compiled
def count_pairs(predicted: NDArray[np.int64], truth: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
    """Add pixels to `counts`; False if a label has no place there."""
    rows, columns = counts.shape
    start = 0
    while start < len(predicted):
        row, column = predicted[start], truth[start]
        if row < 0 or row >= rows or column < 0 or column >= columns:
            return False
        end = start + 1
        while end < len(predicted) and predicted[end] == row and truth[end] == column:
            end += 1
        counts[row - 1 if row else rows - 1, column - 1 if column else columns - 1] += end - start
        start = end
    return True


@compiled
def add_precisions(
    taken: NDArray[np.bool_],
    weights: NDArray[np.uint8],
    positives: NDArray[np.int64],
    recalls: NDArray[np.float64],
    detections: NDArray[np.int64],
    hits: NDArray[np.int64],
    best: NDArray[np.float64],
    summed: NDArray[np.float64],
    level: NDArray[np.int64],
) -> None:
    """Go on to some detections (rows, of which the last comes first) that rank higher than those before.

    Precision is highest at hits: only they are looked at. Of every threshold and replicate (columns) `hits`
    is how many there are up to here, `best` the highest precision so far, `summed` the sum of it over the
    recalls above `level`, the next of `recalls`; of every replicate `detections` is how many there are.
    """
    for i in range(len(taken) - 1, -1, -1):
        for threshold in range(taken.shape[1]):
            if not taken[i, threshold]:
                continue
            for replicate in range(len(positives)):
                if positives[replicate] == 0:
                    continue
                right = hits[threshold, replicate]
                precision = right / (detections[replicate] + np.spacing(1.0))
                highest = max(best[threshold, replicate], precision)
                best[threshold, replicate] = highest
                right -= weights[i, replicate]
                hits[threshold, replicate] = right
                before = right / positives[replicate]
                place = level[threshold, replicate]
                while place >= 0 and recalls[place] > before:
                    summed[threshold, replicate] += highest
                    place -= 1
                level[threshold, replicate] = place
        for replicate in range(len(positives)):
            detections[replicate] -= weights[i, replicate]


@compiled
def add_rest(best: NDArray[np.float64], summed: NDArray[np.float64], level: NDArray[np.int64]) -> None:
    """The same for the recalls that are left: those of the first detection."""
    for threshold in range(best.shape[0]):
        for replicate in range(best.shape[1]):
            for _ in range(level[threshold, replicate] + 1):
                summed[threshold, replicate] += best[threshold, replicate]
