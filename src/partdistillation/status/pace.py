"""How quickly stages go on."""

from collections import deque


class Pace:
    """By when counts were seen to change."""

    _KEPT = 10

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[tuple[float, int]]] = {}

    def forget(self, place: str) -> None:
        """A run doesn't go on: what comes later has nothing to do with what was seen."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != place}

    def a_second(self, place: str, stage: str, done: int, now: float) -> float | None:
        """How many units a second are done, by the latest; None before two changes were seen."""
        seen = self._seen.setdefault((place, stage), deque(maxlen=self._KEPT))
        if seen and done < seen[-1][1]:
            seen.clear()
        if not seen or done > seen[-1][1]:
            seen.append((now, done))
        if len(seen) < 3:
            return None
        (start, first), (end, last) = seen[1], seen[-1]  # the first may have been there for long
        if len(seen) == self._KEPT:
            start, first = seen[0]
        usual = (end - start) / max(1, len(seen) - 2)
        spent = max(end, now - usual) - start  # where nothing comes any more, it gets slower
        return (last - first) / spent if last > first and spent > 0 else None
