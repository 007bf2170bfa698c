"""Changes of the decisions on an object class's part classes. None contradicts what was decided before.

Part classes that count as one are named, merged and rejected together; `part` may be any of them.
"""

from dataclasses import replace

from partdistillation.errors import InputError
from partdistillation.runs.part_table import ClassParts


def named(decided: ClassParts, part: int, name: str) -> ClassParts:
    """Call a part class so; with an empty name, as nobody has named it.

    Raises:
        InputError: it is rejected, or can't be called so.
    """
    end = _end(decided, part)
    names = {other: text for other, text in decided.names.items() if other != end}
    return replace(decided, names={**names, end: name} if name else names)


def merged(decided: ClassParts, part: int, into: int) -> ClassParts:
    """Let a part class count as another, which keeps its name, or takes that of the first if it has none.

    Raises:
        InputError: one of them is rejected, or they count as one already.
    """
    start, end = _end(decided, part), _end(decided, into)
    if start == end:
        raise InputError(f"expected two part classes to merge, found that {part} and {into} are one already")
    ends = dict.fromkeys([start, *members(decided, start)], end)
    names = dict(decided.names)
    if start in names and end not in names:
        names[end] = names.pop(start)
    return replace(decided, names=names, merged={**decided.merged, **ends})


def split(decided: ClassParts, part: int) -> ClassParts:
    """Let a part class that is merged with another count as itself again, without those merged with it.

    Raises:
        InputError: it isn't merged with another.
    """
    if part not in decided.merged:
        raise InputError(f"expected a part class that is merged with another, found {part}, which isn't")
    end = _end(decided, part)
    others = {other: end for other in members(decided, end) if other != part}
    elsewhere = {other: into for other, into in decided.merged.items() if decided.becomes(other) != end}
    return replace(decided, merged={**elsewhere, **others})


def rejected(decided: ClassParts, part: int) -> ClassParts:
    """Say of a part class, and of those merged with it, that it is none.

    Raises:
        InputError: it is rejected already.
    """
    end = _end(decided, part)
    group = {end, *members(decided, end)}
    kept = {other: into for other, into in decided.merged.items() if other not in group}
    return replace(decided, merged=kept, rejected=decided.rejected | group)


def restored(decided: ClassParts, part: int) -> ClassParts:
    """Take a rejection back.

    Raises:
        InputError: it isn't rejected.
    """
    if part not in decided.rejected:
        raise InputError(f"expected a part class that is rejected, found {part}, which isn't")
    return replace(decided, rejected=decided.rejected - {part})


def members(decided: ClassParts, end: int) -> list[int]:
    """The part classes that count as this one, without itself."""
    return sorted(part for part in decided.merged if decided.becomes(part) == end)


def added(decided: ClassParts, proposed: ClassParts) -> ClassParts:
    """Take over what somebody else decided of part classes that nothing was decided of here."""
    known = {*decided.merged, *decided.merged.values(), *decided.rejected}
    joined = decided
    for part in sorted(proposed.rejected - known):
        joined = rejected(joined, part)
    for part in sorted(proposed.merged.keys() - known):
        ends = joined.becomes(part), joined.becomes(proposed.merged[part])
        if None not in ends and ends[0] != ends[1]:
            joined = merged(joined, part, proposed.merged[part])
    for part, name in sorted(proposed.names.items()):
        end = joined.becomes(part)
        if end is not None and end not in joined.names:
            joined = named(joined, end, name)
    return joined


def _end(decided: ClassParts, part: int) -> int:
    end = decided.becomes(part)
    if end is None:
        raise InputError(f"expected a part class that isn't rejected, found {part}: take it back first")
    return end
