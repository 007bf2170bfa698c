"""What people think of discovered parts: precision@k, its area under the curve, diversity, agreement.

A reviewer sees at most 9 images of a part class and marks those that show the same part. Precision@k is the
share of part classes with at least k such images (the strict one: with more than k); AUC is the mean of
precision@3 to precision@9; diversity is the share of part classes that are consistent (3 images or more) and,
among the consistent ones of their object class, the first to show their part (supplement, section 1).

How verdicts become numbers:

- Every score is a mean over part classes of a mean over their reviewers: what one of the reviewers, drawn at
  random, would find. One who skipped doesn't count, and a part class that all skipped is left out.
- A rejected part class has no image that shows the part, whatever is marked.
- Two part classes show the same part if the reviewer called one a duplicate of the other, or merged them,
  over any number of steps. A duplicate of one that isn't consistent is still new.
- A part class with fewer than 9 images is held to the same numbers: it must be consistent in as many.
- Intervals are of a bootstrap over object classes. It draws alike for all runs, so that intervals of
  differences are paired.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int64

from partdistillation.errors import InputError
from partdistillation.evaluation.bootstrap import UNKNOWN, WEIGHTS, Interval, image_weights, interval
from partdistillation.functional.krippendorff import alpha_of, nominal_tally
from partdistillation.runs.majority import joined
from partdistillation.runs.verdicts import MAX_MARKS, Verdict

KS = tuple(range(3, MAX_MARKS + 1))
"""The first is the least number of images alike for a part class to be consistent."""

# The columns of an object class's tally, which is all that the scores need to know of it.
_PARTS, _FEW, _SKIPPED, _VERDICTS = range(4)
_PRECISION, _STRICT, _UNIQUE = (slice(4 + len(KS) * place, 4 + len(KS) * (place + 1)) for place in range(3))
_MARKS = slice(_UNIQUE.stop, _UNIQUE.stop + 3)
_COLUMNS = _MARKS.stop

_Tally = Float64[np.ndarray, " column"]
_Key = TypeVar("_Key", bound=Hashable)


class Estimate(NamedTuple):
    """A score, and the middle 95 % of the bootstrap; NaN where there is nothing to measure."""

    value: float
    interval: Interval


class Scores(NamedTuple):
    """What reviewers found in a run's part classes of a group of object classes."""

    run: str
    group: str
    classes: int
    """Object classes of the group with verdicts on all runs."""
    parts: int
    """Their part classes with verdicts."""
    few_images: int
    """Of these, how many had fewer than 9 images."""
    skipped: int
    """Part classes that are left out, as all their reviewers skipped them."""
    verdicts: int
    estimates: Mapping[str, Estimate]
    """`precision@3` to `@9`, `auc`, `strict_precision@3` ..., `strict_auc`; `unique@3` ... (of the part
    classes, those with at least k images and a new part), `diversity` (`unique@3`), `unique_of_consistent`,
    `unique_per_class`; `alpha`, Krippendorff's, of the marks."""


class Difference(NamedTuple):
    """By how much the scores of a run are above those of another, on the same object classes."""

    run: str
    other: str
    group: str
    estimates: Mapping[str, Estimate]


class ReviewScores(NamedTuple):
    """All runs on all groups, and each two runs on each group."""

    scores: Sequence[Scores]
    differences: Sequence[Difference]
    left_out: Mapping[str, int]
    """For each run, its object classes that lack verdicts on another run."""


def score(verdicts: Iterable[Verdict], groups: Mapping[str, Set[str] | None]) -> ReviewScores:
    """Score part classes by their verdicts; several runs on the object classes that were reviewed for all.

    Args:
        verdicts: one a reviewer and part class; several runs' in any order.
        groups: by name, which object classes are scored together; None: all.

    Raises:
        InputError: there is nothing but skipped part classes; or reviewers of a part class saw different
            numbers of images.
    """
    tallies = _tallies(verdicts)
    if not tallies:
        raise InputError("expected verdicts on part classes, found none that isn't skipped")
    common = frozenset.intersection(*(frozenset(classes) for classes in tallies.values()))
    scores, differences = [], []
    for group, wanted in groups.items():
        classes = sorted(common if wanted is None else common & wanted)
        weights = _class_weights(classes)
        replicates = {}
        for run, of_classes in tallies.items():
            table = np.array([of_classes[name] for name in classes]).reshape(len(classes), _COLUMNS)
            replicates[run] = _replicates(table, weights)
            scores.append(_scores(run, group, table, replicates[run]))
        for run, other in combinations(replicates, 2):
            change = {name: values - replicates[other][name] for name, values in replicates[run].items()}
            differences.append(Difference(run, other, group, _estimates(change, len(classes))))
    left_out = {run: len(classes) - len(common) for run, classes in tallies.items()}
    return ReviewScores(scores, differences, left_out)


# ---------------------------------------------------------------------- from verdicts to tallies


def _tallies(verdicts: Iterable[Verdict]) -> dict[str, dict[str, _Tally]]:
    """By run, then by object class; without object classes that were only skipped."""
    tallies: dict[str, dict[str, _Tally]] = {}
    for (run, category), verdicts_of_class in sorted(
        _grouped(verdicts, lambda verdict: (verdict.run, verdict.category)).items()
    ):
        tally = _class_tally(verdicts_of_class)
        if tally[_PARTS]:
            tallies.setdefault(run, {})[category] = tally
    return tallies


def _grouped(verdicts: Iterable[Verdict], key: Callable[[Verdict], _Key]) -> dict[_Key, list[Verdict]]:
    groups: defaultdict[_Key, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[key(verdict)].append(verdict)
    return groups


def _class_tally(verdicts: Sequence[Verdict]) -> _Tally:
    """The sums over an object class's part classes, of one run."""
    tally = np.zeros(_COLUMNS)
    tally[_SKIPPED] = len({verdict.part for verdict in verdicts})
    answers = [verdict for verdict in verdicts if verdict.action != "skipped"]
    unique: dict[tuple[str, int], Bool[np.ndarray, " k"]] = {}
    for reviewer, theirs in _grouped(answers, lambda verdict: verdict.reviewer).items():
        unique |= {(reviewer, part): new for part, new in _unique(theirs).items()}
    for part, judgements in _grouped(answers, lambda verdict: verdict.part).items():
        images = _images(judgements)
        counts = np.array([_marked(verdict) for verdict in judgements])
        tally[_PARTS] += 1
        tally[_SKIPPED] -= 1
        tally[_FEW] += images < MAX_MARKS
        tally[_VERDICTS] += len(judgements)
        tally[_PRECISION] += (counts[:, None] >= KS).mean(axis=0)
        tally[_STRICT] += (counts[:, None] > KS).mean(axis=0)
        tally[_UNIQUE] += np.mean([unique[verdict.reviewer, part] for verdict in judgements], axis=0)
        tally[_MARKS] += nominal_tally(_mark_counts(judgements, images))
    return tally


def _images(verdicts: Sequence[Verdict]) -> int:
    """How many images of a part class its reviewers saw."""
    seen = {len(verdict.marks) for verdict in verdicts if verdict.action == "judged"}
    if len(seen) > 1:
        first = verdicts[0]
        raise InputError(
            f"expected all reviewers of part {first.part} of {first.category!r} ({first.run}) to have seen "
            f"the same images, found marks of {' and '.join(map(str, sorted(seen)))} images: were two "
            "reviews with other collages put together?"
        )
    return max(seen or {len(verdict.marks) for verdict in verdicts})


def _marked(verdict: Verdict) -> int:
    """In how many images the reviewer saw the same part."""
    return sum(verdict.marks) if verdict.action == "judged" else 0


def _mark_counts(verdicts: Sequence[Verdict], images: int) -> Int64[np.ndarray, "image 2"]:
    """How many reviewers didn't, and did, see the part in each image."""
    rejected = (False,) * images
    marks = [verdict.marks if verdict.action == "judged" else rejected for verdict in verdicts]
    yes = np.array(marks, dtype=np.int64).sum(axis=0)
    return np.stack([len(marks) - yes, yes], axis=1)


def _unique(theirs: Sequence[Verdict]) -> dict[int, Bool[np.ndarray, " k"]]:
    """For one reviewer's part classes: whether it has k images and no earlier one of the same part has."""
    judged = [verdict for verdict in theirs if verdict.action == "judged"]
    others = [(v.part, other) for v in judged for other in (v.duplicate_of, v.merged_into)]
    same = joined((part, other) for part, other in others if other is not None)
    seen: defaultdict[int, Bool[np.ndarray, " k"]] = defaultdict(lambda: np.zeros(len(KS), dtype=bool))
    unique = {}
    for verdict in sorted(theirs, key=lambda verdict: verdict.part):
        consistent = np.array([_marked(verdict) >= k for k in KS])
        stands_for = same.get(verdict.part, verdict.part)
        unique[verdict.part] = consistent & ~seen[stands_for]
        seen[stands_for] = seen[stands_for] | consistent
    return unique


# ---------------------------------------------------------------------- from tallies to scores


def _class_weights(classes: Sequence[str]) -> Int64[np.ndarray, "weight class"]:
    """How often an object class counts: once, then in each replicate; by its name alone."""
    if not classes:
        return np.zeros((WEIGHTS, 0), dtype=np.int64)
    return np.stack([image_weights(name) for name in classes], axis=1)


def _replicates(
    tallies: Float64[np.ndarray, "class column"], weights: Int64[np.ndarray, "weight class"]
) -> dict[str, Float64[np.ndarray, " weight"]]:
    sums = weights @ tallies
    parts = _or_nan(sums[:, _PARTS])
    columns = (_PRECISION, _STRICT, _UNIQUE)
    precision, strict, unique = (sums[:, places] / parts[:, None] for places in columns)
    return {
        **{f"precision@{k}": values for k, values in zip(KS, precision.T, strict=True)},
        "auc": precision.mean(axis=1),
        **{f"strict_precision@{k}": values for k, values in zip(KS, strict.T, strict=True)},
        "strict_auc": strict.mean(axis=1),
        **{f"unique@{k}": values for k, values in zip(KS, unique.T, strict=True)},
        "diversity": unique[:, 0],
        "unique_of_consistent": unique[:, 0] / _or_nan(precision[:, 0]),
        "unique_per_class": sums[:, _UNIQUE.start] / _or_nan(weights.sum(axis=1).astype(np.float64)),
        "alpha": alpha_of(sums[:, _MARKS]),
    }


def _or_nan(values: Float64[np.ndarray, " weight"]) -> Float64[np.ndarray, " weight"]:
    """NaN in place of 0, to divide by."""
    return np.where(values > 0, values, np.nan)


def _scores(
    run: str,
    group: str,
    tallies: Float64[np.ndarray, "class column"],
    replicates: Mapping[str, Float64[np.ndarray, " weight"]],
) -> Scores:
    parts, few, skipped, verdicts = map(int, tallies.sum(axis=0)[: _PRECISION.start])
    estimates = _estimates(replicates, len(tallies))
    return Scores(run, group, len(tallies), parts, few, skipped, verdicts, estimates)


def _estimates(replicates: Mapping[str, Float64[np.ndarray, " weight"]], classes: int) -> dict[str, Estimate]:
    """Without intervals where there is but one object class to draw from."""
    return {
        name: Estimate(float(values[0]), interval(values) if classes > 1 else UNKNOWN)
        for name, values in replicates.items()
    }
