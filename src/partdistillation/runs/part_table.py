"""What people decided about part classes: what they are called, which are joined and which are no parts.

Kept as `part_table.json`, made from reviewers' verdicts or by hand:

    {"version": 1,
     "classes": {"car": {"names": {"0": "wheel"}, "merged": {"2": 0}, "rejected": [5]}}}

says that of the object class "car" part 0 is called wheel, part 2 is joined with part 0, and part 5 is no
part. Part classes that aren't mentioned stay as they are. Within an object, the parts of joined part classes
are one part: their masks' union, with the best score.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMask, decoded, encode, union
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectParts, Part, PartRow
from partdistillation.settings import at_home

FILE = "part_table.json"
"""In a model's folder: the table of a model that was trained with one."""
VERSION = 1
_SHOWN = 10
_DEFAULT_NAME = re.compile(r"part \d+")

T = TypeVar("T")


def part_name(part: int) -> str:
    """What a part class is called that nobody has named."""
    return f"part {part}"


def is_name(text: str, part: int) -> bool:
    """Whether a part class may be called so: one line, and not what another is called by default."""
    taken = _DEFAULT_NAME.fullmatch(text) and text != part_name(part)
    return text.isprintable() and bool(text) and text == text.strip() and not taken


@dataclass(frozen=True)
class ClassParts:
    """The decisions on one object class's part classes, by part id.

    Raises:
        InputError: a name that can't be used, or decisions that contradict each other.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    """Names of part classes that are joined with another, or rejected, are of no use, but no mistake."""
    merged: Mapping[int, int] = field(default_factory=dict)
    """The part class that one is joined with, which may be joined with a third itself."""
    rejected: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for part, name in self.names.items():
            if not is_name(name, part):
                raise InputError(
                    f"part {part}: expected a name of one line, without outer spaces, that isn't another "
                    f"part's ({part_name(part + 1)!r}), found {name!r}"
                )
        for part in self._ends.keys() & self.rejected:
            raise self._leads_through(part, part)
        for part, end in self._ends.items():
            if end in self.rejected:
                raise self._leads_through(end, part)

    @cached_property
    def _ends(self) -> dict[int, int]:
        """Where the merges of each part lead in the end; every merge is followed once."""
        ends: dict[int, int] = {}
        for part in self.merged:
            path: dict[int, None] = {}
            end = part
            while end in self.merged and end not in ends:
                if end in path:
                    cycle = [*path, end]
                    raise InputError(
                        f"expected merges that come to an end, found a cycle: part {_arrows(cycle)}"
                    )
                path[end] = None
                end = self.merged[end]
            ends |= dict.fromkeys(path, ends.get(end, end))
        return ends

    def _leads_through(self, rejected: int, start: int) -> InputError:
        path = [start]
        while path[-1] in self.merged:
            path.append(self.merged[path[-1]])
        return InputError(
            f"part {rejected} is rejected, and merges lead through it: part {_arrows(path)}. Reject the "
            "others too, or merge them elsewhere"
        )

    def becomes(self, part: int) -> int | None:
        """The part class that this one counts as; None if it is rejected."""
        end = self._ends.get(part, part)
        return None if end in self.rejected else end

    @cached_property
    def joined(self) -> frozenset[int | None]:
        """The part classes that others are joined with."""
        return frozenset(map(self.becomes, self.merged))

    @property
    def mentioned(self) -> frozenset[int]:
        """All part ids that the decisions are about."""
        return frozenset({*self.names, *self.merged, *self.merged.values(), *self.rejected})


def _arrows(path: Sequence[int]) -> str:
    texts = list(map(str, path))
    return " -> ".join(texts if len(texts) <= _SHOWN else [*texts[: _SHOWN - 1], "...", texts[-1]])


_UNDECIDED = ClassParts()


@dataclass(frozen=True)
class PartTable:
    """The decisions by object class."""

    classes: Mapping[str, ClassParts] = field(default_factory=dict)

    def of(self, category: str) -> ClassParts:
        """The decisions on an object class; none, if it has none."""
        return self.classes.get(category, _UNDECIDED)

    def name(self, category: str, part: int) -> str:
        """What a part class is called."""
        return self.of(category).names.get(part, part_name(part))

    def grouped(
        self, category: str, parts: Iterable[T], part_of: Callable[[T], int]
    ) -> list[tuple[int, list[T]]]:
        """What is left of an object's parts, in order: a part id, and the parts that are one part now."""
        decided = self.of(category)
        groups: list[tuple[int, list[T]]] = []
        places: dict[int, int] = {}
        for entry in parts:
            part = decided.becomes(part_of(entry))
            if part is None:
                continue
            if part in decided.joined and part in places:
                groups[places[part]][1].append(entry)
            else:
                places[part] = len(groups)
                groups.append((part, [entry]))
        return groups

    def applied(self, row: PartRow) -> PartRow:
        """An image's parts with rejected ones left out and joined ones as one."""
        return replace(row, objects=tuple(self._of_object(labelled, row) for labelled in row.objects))

    def _of_object(self, labelled: ObjectParts, row: PartRow) -> ObjectParts:
        groups = self.grouped(labelled.category, labelled.parts, lambda part: part.part)
        parts = tuple(_one_part(part, group, row.height, row.width) for part, group in groups)
        return replace(labelled, parts=parts)

    def check(self, num_parts: int) -> None:
        """Refuse a table of other part classes than 0 to `num_parts` - 1.

        Raises:
            InputError: it mentions another one.
        """
        for category, decided in self.classes.items():
            for part in sorted(decided.mentioned):
                if part >= num_parts:
                    raise InputError(
                        f"the part table mentions part {part} of {category!r}: expected parts 0 to "
                        f"{num_parts - 1}; is it another model's table?"
                    )

    def renumbered(self, num_parts: int) -> tuple[dict[str, dict[int, int]], "PartTable"]:
        """Part ids without gaps, for a model that learns what is left of `num_parts` part classes.

        Returns:
            For each object class with decisions: the new id of every part class that is left, in the old
            order. And the table of the new ids, which has their names.
        """
        ids: dict[str, dict[int, int]] = {}
        named: dict[str, ClassParts] = {}
        for category, decided in self.classes.items():
            left = [part for part in range(num_parts) if decided.becomes(part) == part]
            ids[category] = {part: new for new, part in enumerate(left)}
            names = {new: decided.names[part] for new, part in enumerate(left) if part in decided.names}
            if names:
                named[category] = ClassParts(names)
        return ids, PartTable(named)

    @property
    def edits(self) -> dict[str, Json]:
        """What changes parts, and not just their names, as plain values: part of a stage's fingerprint."""
        edits: dict[str, Json] = {}
        for category, decided in sorted(self.classes.items()):
            moved: dict[str, Json] = {
                str(part): new for part in sorted(decided.mentioned) if (new := decided.becomes(part)) != part
            }
            if moved:
                edits[category] = moved
        return edits


def _one_part(part: int, group: Sequence[Part], height: int, width: int) -> Part:
    if len(group) == 1:
        return replace(group[0], part=part)
    mask = decoded(union([EncodedMask(member.rle, height, width) for member in group]))
    return Part(
        part=part,
        probability=max(member.probability for member in group),
        score=max(member.score for member in group),
        area=int(mask.sum()),
        rle=encode(mask),
    )


# ---------------------------------------------------------------------- files


def write_part_table(path: Path, table: PartTable) -> None:
    """Write a table that `read_part_table` reads as the same.

    Raises:
        StoreError: the file can't be written. What was there is left as it was.
    """
    classes = {category: to_json(decided) for category, decided in sorted(table.classes.items())}
    text = json.dumps({"version": VERSION, "classes": classes}, indent=1, ensure_ascii=False)
    replace_file(path, f"{text}\n".encode())


def to_json(decided: ClassParts) -> dict[str, Json]:
    """The decisions on an object class as plain values, which `from_json` reads."""
    return {
        "names": {str(part): name for part, name in sorted(decided.names.items())},
        "merged": {str(part): into for part, into in sorted(decided.merged.items())},
        "rejected": sorted(decided.rejected),
    }


def read_part_table(path: Path) -> PartTable:
    """Read a part table.

    Raises:
        InputError: the file can't be read, or isn't a part table; the message names the object class.
    """
    path = at_home(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as error:
        raise InputError(f"{path}: expected a part table, found {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of brackets nested too deeply
        raise InputError(f"{path}: expected a part table as JSON: {error}") from None
    classes = {}
    place = str(path)
    try:
        for category, values in _classes(content).items():
            place = f"{path}, object class {category!r}"
            classes[category] = from_json(values)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    return PartTable(classes)


def _classes(content: Any) -> dict[str, Any]:
    _check_object(content, ("version", "classes"))
    if content.get("version") != VERSION:
        raise InputError(f"expected a part table of version {VERSION}, found {content.get('version')!r}")
    _check_object(content.get("classes"))
    classes: dict[str, Any] = content["classes"]
    return classes


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that is there twice, the second would silently replace the first."""
    counts = Counter(key for key, _ in pairs)
    for key, count in counts.items():
        if count > 1:
            raise ValueError(f"expected every key once, found {key!r} {count} times")
    return dict(pairs)


def from_json(values: Any) -> ClassParts:
    """The decisions that `to_json` wrote, or somebody by hand.

    Raises:
        InputError: they are none, or contradict each other.
    """
    _check_object(values, ("names", "merged", "rejected"))
    names, merged, rejected = values.get("names", {}), values.get("merged", {}), values.get("rejected", [])
    _check_object(names)
    _check_object(merged)
    if not isinstance(rejected, list):
        raise InputError(f"rejected: expected a list of part ids, found {rejected!r}")
    for name in names.values():
        if not isinstance(name, str):
            raise InputError(f"names: expected text, found {name!r}")
    return ClassParts(
        names={_part_id(part): name for part, name in names.items()},
        merged={_part_id(part): _part_id(into) for part, into in merged.items()},
        rejected=frozenset(map(_part_id, rejected)),
    )


def _check_object(value: object, keys: Sequence[str] | None = None) -> None:
    if not isinstance(value, dict):
        raise InputError(f"expected a JSON object, found {value!r}")
    for key in value:
        if keys is not None and key not in keys:
            raise InputError(f"expected some of {', '.join(keys)}, found {key!r}")


def _part_id(value: object) -> int:
    """Of a number or, as JSON's keys are, its text."""
    if type(value) is int and 0 <= value < 10**9:
        return value
    if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        return int(value)
    raise InputError(f"expected a part id (0, 1, 2 ...), found {value!r:.40}")
