"""Why images have no objects, and objects were left out: alike reasons together, and what they call for."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

_SPECIFIC = re.compile(r"'[^']*'|\d+(?:[.,]\d+)*")
_A_NOTE = re.compile(r"annotation |expected |(people: )?\d+ (after|empty|crowd)|[^;:]*\.png: ", re.IGNORECASE)
"""How a note on what was left out begins; what else follows a semicolon is the end of one."""
_COUNTED = re.compile(r"(?:people: )?(\d+) (?:after|empty|crowd)")
_LEFT_OUT = "left out: "


@dataclass
class Causes:
    """Reasons counted, those together that differ in names and numbers alone; the first stands for all."""

    counts: Counter[str] = field(default_factory=Counter)
    """By what they have in common."""
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, file_name: str, count: int = 1, *, essence: str = "") -> None:
        """Count a reason; what it has in common with others is in its `essence`, by default all of it."""
        common = _SPECIFIC.sub("…", _without(file_name, essence or reason))
        self.counts[common] += count
        self.examples.setdefault(common, reason)

    def top(self, most: int) -> list[tuple[str, int]]:
        """The most frequent as they stand in a row, and what the rest amounts to."""
        return [(self._said(common), count) for common, count in top(self.counts, most, "other reasons")]

    def _said(self, common: str) -> str:
        example = self.examples.get(common, common)
        particular = "…" in common or _SPECIFIC.search(example)
        return f"such as: {example}" if self.counts[common] > 1 and particular else example

    def __bool__(self) -> bool:
        return bool(self.counts)


def _without(file_name: str, reason: str) -> str:
    """The reason without the photograph's name, and without that of its mask."""
    if not file_name:
        return reason
    stem = str(PurePosixPath(file_name).with_suffix(""))
    for name in (file_name, f"{stem}.png", f"{stem}: "):
        reason = reason.replace(name, "…")
    return reason


def first_reason(reason: str) -> tuple[str, str]:
    """Of a rejected row's reason what is to be shown of it, and its essence."""
    first, _, rest = reason.partition("; ")
    both = f"{first}; {rest.split('; ')[0]}" if rest else first
    if first == "no objects":
        return both, both
    return (first, first) if first.startswith("no objects") else (both, first)


def left_out(reason: str) -> Iterator[tuple[str, int]]:
    """The notes in the reason of a row that has objects, each with how many objects it is about."""
    notes: list[str] = []
    for text in reason.partition(_LEFT_OUT)[2].split("; "):
        if _A_NOTE.match(text) or (text and not notes):
            notes.append(text)
        elif text:
            notes[-1] += f"; {text}"
    for note in notes:
        counted = _COUNTED.match(note)
        yield note, int(counted[1]) if counted else 1


def top(counts: Counter[str], most: int, others: str) -> list[tuple[str, int]]:
    """The most frequent, equals by name, and what the rest amounts to."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = ordered[most:]
    left = [(f"{len(rest)} {others}", sum(count for _, count in rest))] if rest else []
    return [*ordered[:most], *left]


_ADVICE = {
    "no such file": "Names are relative to --images: is it the right folder?",
    "an image of": "Are these the photographs that were annotated, at the same size?",
    "a mask of": "Are these the photographs that the masks were made of, at the same size?",
    "only a box": "Masks are needed: --objects.source names models that find them.",
    "no entry in": "Is it the annotations of these photographs?",
    "(normalised)": "Are the coordinates in pixels?",
    "no class": "The class of a photograph is its folder, or what --objects.classes says of a mask's values.",
}
"""What the reason of most images has in it, and what to look at."""


def advice(reasons: Causes, source: object) -> str:
    """What to look at first, by the most frequent reason and by where the objects come from."""
    ((common, _),) = reasons.counts.most_common(1)
    for words, text in _ADVICE.items():
        if words in common:
            return text
    if not common.startswith("no objects"):
        return "Can the photographs be opened elsewhere?"
    if source in ("annotations", "masks", "run"):
        return "Are the labels those of these photographs?"
    return "Are the classes' names those that the model uses? Is --objects.min-score right?"
