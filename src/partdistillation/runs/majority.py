"""The part table that a majority of reviewers stands for."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from partdistillation.errors import InputError
from partdistillation.runs.part_table import ClassParts, PartTable, is_name
from partdistillation.runs.verdicts import Verdict


def from_verdicts(verdicts: Iterable[Verdict], run: str | None = None) -> PartTable:
    """The decisions of the majority of a run's reviewers, of each part class and pair of part classes.

    - A part class is rejected if more than half of those who judged it reject it.
    - Two part classes are joined if more than half of those who judged both merge them, by themselves or
      through others. Joined ones may lead to further ones; all are joined with the lowest part id.
    - A part class is called what most call it, or those joined with it: whatever the case of letters, and the
      first in the alphabet of names that are given as often.

    So a tie between reviewers changes nothing. Who skipped a part class hasn't judged it, and what is only
    called a duplicate isn't merged.

    Args:
        verdicts: one a reviewer and part class.
        run: whose part classes, where the verdicts are about several runs.

    Raises:
        InputError: there are no verdicts on the run, or it isn't said which; or a part class is merged into
            one that nobody has a verdict on.
    """
    by_class = _of_run(list(verdicts), run)
    classes = {category: _agreed(category, by_class[category]) for category in sorted(by_class)}
    return PartTable({category: decided for category, decided in classes.items() if decided.mentioned})


def _of_run(verdicts: Sequence[Verdict], run: str | None) -> dict[str, list[Verdict]]:
    runs = sorted({verdict.run for verdict in verdicts})
    if run is None and len(runs) == 1:
        (run,) = runs
    if run not in runs:
        asked = "no run" if run is None else repr(run)
        raise InputError(
            f"expected one of the runs with verdicts ({', '.join(runs) or 'there are none'}), found {asked}"
        )
    classes: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.run == run:
            classes[verdict.category].append(verdict)
    return classes


def _agreed(category: str, verdicts: Sequence[Verdict]) -> ClassParts:
    _check_targets(category, verdicts)
    answers = [verdict for verdict in verdicts if verdict.action != "skipped"]
    reviewers: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in answers:
        reviewers[verdict.reviewer].append(verdict)
    judged = Counter(verdict.part for verdict in answers)
    refused = Counter(verdict.part for verdict in answers if verdict.action == "rejected")
    rejected = frozenset(part for part in judged if 2 * refused[part] > judged[part])
    pairs = [pair for pair in _majority_pairs(list(reviewers.values())) if not rejected & {*pair}]
    merged = joined(pairs)
    return ClassParts(_names(answers, merged, rejected), merged, rejected)


def _check_targets(category: str, verdicts: Sequence[Verdict]) -> None:
    known = {verdict.part for verdict in verdicts}
    for verdict in verdicts:
        if verdict.merged_into is not None and verdict.merged_into not in known:
            raise InputError(
                f"{verdict.reviewer!r} merged part {verdict.part} of {category!r} into part "
                f"{verdict.merged_into}, which nobody has a verdict on (there are verdicts on "
                f"{', '.join(map(str, sorted(known)))})"
            )


def _majority_pairs(reviewers: Sequence[Sequence[Verdict]]) -> list[tuple[int, int]]:
    """The pairs of part classes that most of their reviewers merge."""
    together: Counter[tuple[int, int]] = Counter()
    asked: Counter[tuple[int, int]] = Counter()
    for theirs in reviewers:
        merges = [
            (verdict.part, verdict.merged_into)
            for verdict in theirs
            if verdict.action == "judged" and verdict.merged_into is not None
        ]
        same = joined(merges)
        parts = sorted({verdict.part for verdict in theirs} | {part for pair in merges for part in pair})
        for pair in combinations(parts, 2):
            first, second = (same.get(part, part) for part in pair)
            asked[pair] += 1
            together[pair] += first == second
    return [pair for pair, count in together.items() if 2 * count > asked[pair]]


def joined(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """For each part of a pair, the lowest that pairs lead to from it; without the lowest ones themselves."""
    groups: dict[int, set[int]] = {}
    for part, other in pairs:
        group = groups.get(part, {part}) | groups.get(other, {other})
        groups |= dict.fromkeys(group, group)
    return {part: min(group) for part, group in sorted(groups.items()) if part != min(group)}


def _names(answers: Sequence[Verdict], merged: Mapping[int, int], rejected: frozenset[int]) -> dict[int, str]:
    spellings: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for verdict in answers:
        part = merged.get(verdict.part, verdict.part)
        name = " ".join("".join(c if c.isprintable() else " " for c in verdict.name).split())
        if is_name(name, part) and verdict.action == "judged" and part not in rejected:
            spellings[part][name] += 1
    return {part: _most_given(names) for part, names in sorted(spellings.items())}


def _most_given(names: Counter[str]) -> str:
    """The most frequent name, then its most frequent spelling."""
    by_name: Counter[str] = Counter()
    for spelling, count in names.items():
        by_name[spelling.casefold()] += count
    first = min(by_name, key=lambda name: (-by_name[name], name))
    spellings = (spelling for spelling in names if spelling.casefold() == first)
    return min(spellings, key=lambda spelling: (-names[spelling], spelling))
