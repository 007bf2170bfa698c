"""What came of a review up to now: what most reviewers say of the part classes of every object class."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from partdistillation.review.manual import KS
from partdistillation.runs.majority import from_verdicts
from partdistillation.runs.verdicts import Verdict


class Outcome(NamedTuple):
    """Part classes of an object class, or of all: counts of all runs that are reviewed together."""

    parts: int = 0
    judged: int = 0
    """Those that somebody judged, and not just skipped."""
    consistent: int = 0
    """Those of which most who judged them see 3 images alike or more."""
    named: int = 0
    merged: int = 0
    """Those that are joined with another."""
    rejected: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":  # type: ignore[override]
        return Outcome(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def outcomes(verdicts: Iterable[Verdict], parts: Mapping[str, int]) -> dict[str, Outcome]:
    """The outcome by object class, in alphabetical order; names, merges and rejections as in a part table.

    Args:
        verdicts: one a reviewer and part class, of any runs.
        parts: by object class, how many part classes the runs have.
    """
    counts = {category: Outcome(parts=number) for category, number in sorted(parts.items())}
    groups: defaultdict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.run, verdict.category].append(verdict)
    for (_, category), group in groups.items():
        counts[category] += _outcome(category, group)
    return counts


def _outcome(category: str, verdicts: Sequence[Verdict]) -> Outcome:
    """Of the verdicts on an object class of one run; how many parts it has isn't counted."""
    answers: defaultdict[int, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.action != "skipped":
            answers[verdict.part].append(verdict)
    decided = from_verdicts(_complete(verdicts)).of(category)
    return Outcome(
        judged=len(answers),
        consistent=sum(2 * sum(map(_is_consistent, of_part)) > len(of_part) for of_part in answers.values()),
        named=len(decided.names),
        merged=len(decided.merged),
        rejected=len(decided.rejected),
    )


def _is_consistent(verdict: Verdict) -> bool:
    return verdict.action == "judged" and sum(verdict.marks) >= KS[0]


def _complete(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Without merges into part classes that nobody has answered yet, which count once somebody has."""
    known = {verdict.part for verdict in verdicts}
    return [
        verdict if verdict.merged_into in known else verdict._replace(merged_into=None)
        for verdict in verdicts
    ]
