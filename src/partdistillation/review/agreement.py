"""How far the reviewers agree on the images they marked, as far as they have come."""

from collections import defaultdict
from collections.abc import Iterable
from math import isnan

import numpy as np

from partdistillation.functional.krippendorff import nominal_alpha
from partdistillation.review.votes import Vote


def agreement(answers: Iterable[tuple[int, Vote]]) -> float | None:
    """Krippendorff's alpha of the marks: 1 is agreement on every image, 0 what chance would bring.

    Args:
        answers: votes with the items they are about. Nothing counts as marked where an item was rejected, and
            one who skipped it has no say.

    Returns:
        None as long as nobody could have disagreed: no item with two answers, or all marks alike.
    """
    counts: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for item, vote in answers:
        if vote.action != "skipped":
            for position, mark in enumerate(vote.marks):
                counts[item, position][mark and vote.action == "judged"] += 1
    alpha = nominal_alpha(np.array(list(counts.values()), dtype=np.int64).reshape(-1, 2))
    return None if isnan(alpha) else alpha
