"""Who works at a run that many share, by their claims (`runs.claims`), which this only reads.

A worker's clock tells nothing here, and neither does the storage's: a worker is alive whose number was seen
to change, by the clock of whoever looks.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from partdistillation.runs.claims import FOLDER as CLAIMS
from partdistillation.runs.claims import MAX_DEATHS, Claims
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import PREDICTING, STAGES

_FOLDERS = ("", *dict.fromkeys(folder for stage in (*STAGES, *PREDICTING) for folder in stage.row_folders))
"""Where there may be claims: beside the stages for what can't be divided, in each for its shards."""


class Task(NamedTuple):
    """What is claimed: a shard of a stage's folder, or a stage's work that can't be divided (no folder)."""

    folder: str
    name: str

    def __str__(self) -> str:
        return f"{self.folder}, shard {self.name}" if self.folder else self.name


@dataclass
class _Claim:
    content: bytes
    changed: float | None = None
    """When it was seen to."""


class Worker(NamedTuple):
    """Who holds claims."""

    name: str
    tasks: tuple[str, ...]
    sign: float | None
    """Seconds since it was seen to give a sign of life; None if it wasn't."""


class Deadly(NamedTuple):
    """A task that workers died at, or were stopped at."""

    task: str
    deaths: int
    left: bool
    """Too many have died: nobody will try it again."""


class Watch:
    """A look at the claims of a run that goes on for as long as `look` is called now and then."""

    def __init__(self, files: RunFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._clock, self._begun = files, clock, clock()
        self._claims: dict[tuple[Task, int], _Claim] = {}

    @property
    def seconds(self) -> float:
        """So long it has gone on."""
        return self._clock() - self._begun

    @property
    def is_enough(self) -> bool:
        """Whether all who hold claims were seen to be alive, or nobody holds any."""
        return all(claim.changed is not None for claim in self._latest().values())

    def look(self) -> None:
        """Read all claims.

        Raises:
            StoreError: the storage can't be read.
        """
        claims, now = dict[tuple[Task, int], _Claim](), self._clock()
        for task, number, content in self._read():
            claim = self._claims.get((task, number), _Claim(content))
            if claim.content != content:
                claim = _Claim(content, now)
            claims[task, number] = claim
        self._claims = claims

    def workers(self) -> list[Worker]:
        """Those who hold claims now, by name."""
        claims, now = defaultdict[str, list[tuple[Task, _Claim]]](list), self._clock()
        for (task, _), claim in self._latest().items():
            claims[claim.content.decode("utf-8", "replace").partition("\n")[0]].append((task, claim))
        return [
            Worker(
                name,
                tuple(str(task) for task, _ in held),
                min((now - claim.changed for _, claim in held if claim.changed is not None), default=None),
            )
            for name, held in sorted(claims.items())
        ]

    def deadly(self) -> list[Deadly]:
        """The tasks that workers have died at, by name."""
        waited = self.seconds > Claims.patience
        tasks = []
        for (task, number), claim in sorted(self._latest().items(), key=lambda item: item[0]):
            deaths = number - 1 + (waited and claim.changed is None)
            if deaths:
                tasks.append(Deadly(str(task), deaths, deaths >= MAX_DEATHS))
        return tasks

    def _latest(self) -> dict[tuple[Task, int], _Claim]:
        """Of each task the claim that counts."""
        latest: dict[Task, int] = {}
        for task, number in self._claims:
            latest[task] = max(number, latest.get(task, 0))
        return {key: self._claims[key] for key in latest.items()}

    def _read(self) -> Iterator[tuple[Task, int, bytes]]:
        for folder in _FOLDERS:
            place = f"{folder}/{CLAIMS}" if folder else CLAIMS
            for file in self._files.storage.names(place):
                name, _, number = file.rpartition(".")
                content = self._files.read(f"{place}/{file}")
                if number.isdecimal() and content is not None:  # else it was given back meanwhile
                    yield Task(folder, name), int(number), content
