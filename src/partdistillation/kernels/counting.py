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
def precisions(
    places: NDArray[np.int64],
    starts: NDArray[np.int64],
    images: NDArray[np.int64],
    weights: NDArray[np.uint8],
    positives: NDArray[np.int64],
    recalls: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Precision is highest at hits: only they are looked at, from the last to the first.

    `places[starts[t]:starts[t + 1]]` are the ranks of the hits at threshold t.
    """
    mean = np.full((len(weights), len(starts) - 1), np.nan)
    counted = np.empty(len(images), np.int64)
    for replicate in range(len(weights)):
        if positives[replicate] == 0:
            continue
        total = 0
        for rank in range(len(images)):
            total += weights[replicate, images[rank]]
            counted[rank] = total
        for threshold in range(len(starts) - 1):
            first, last = starts[threshold], starts[threshold + 1]
            right = 0
            for i in range(first, last):
                right += weights[replicate, images[places[i]]]
            best, summed, level = 0.0, 0.0, len(recalls) - 1
            while level >= 0 and recalls[level] > right / positives[replicate]:
                level -= 1
            for i in range(last - 1, first - 1, -1):
                best = max(best, right / (counted[places[i]] + np.spacing(1.0)))
                right -= weights[replicate, images[places[i]]]
                before = right / positives[replicate] if i > first else -1.0
                while level >= 0 and recalls[level] > before:
                    summed += best
                    level -= 1
            mean[replicate, threshold] = summed / len(recalls)
    return mean
