"""Running cases through `cases/probe.py`, with an eye on what they cost.

`PARTDISTILLATION_FUZZ_MINUTES` says for how long changed files are tried, of each kind.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

PROBE = Path(__file__).parent / "cases/probe.py"
MINUTES = float(os.environ.get("PARTDISTILLATION_FUZZ_MINUTES", "0"))
_FIRST_SEED = 1_000_000
"""Of a long run: other cases than the default's."""
_BATCH = 200
_PATIENCE = 100.0
"""Seconds that a case may take by the clock."""


@dataclass(frozen=True)
class Outcome:
    """What has come of a case."""

    case: str
    outcome: str
    """Empty where it was read, the name of an expected exception, or what went wrong."""
    seconds: float = 0.0
    """Of processors."""
    megabytes: int = 0
    """More than before, in the process itself."""
    child_megabytes: int = 0
    """The most of any process that it has started."""

    def fails(self, *expected: str, seconds: float, megabytes: int, child_megabytes: int = 100) -> bool:
        """Whether it ended otherwise than read or as expected, or took more."""
        costly = (
            self.seconds > seconds or self.megabytes > megabytes or self.child_megabytes > child_megabytes
        )
        return costly or self.outcome not in ("", *expected)


class Probe:
    """Cases of one kind, in a process that is started again when a case has ended it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder

    def run(self, cases: Iterable[str]) -> Iterator[Outcome]:
        left = list(cases)
        while left:
            for outcome in self._until_it_ends(left[:_BATCH]):
                left.remove(outcome.case)
                yield outcome

    def changed(self, count: int) -> Iterator[Outcome]:
        """The seeds up to this one; others for as long as a long run takes."""
        if not MINUTES:
            yield from self.run(map(str, range(count)))
            return
        start, seed = time.monotonic(), _FIRST_SEED
        while time.monotonic() - start < 60 * MINUTES:
            yield from self.run(map(str, range(seed, seed + _BATCH)))
            seed += _BATCH

    def _until_it_ends(self, cases: Sequence[str]) -> Iterator[Outcome]:
        """The outcomes of the first cases; the last of them may have ended the process."""
        command = [sys.executable, "-W", "ignore", str(PROBE), self.kind, *cases]
        begun, problem = cases[0], "the process ended before its first case"
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            assert process.stdout is not None
            try:
                for line in _lines(process.stdout, _PATIENCE):
                    said: dict[str, Any] = json.loads(line)
                    if "begin" in said:
                        begun = said["begin"]
                    elif "end" in said:
                        begun = ""
                        yield Outcome(said.pop("end"), **said)
                problem = f"exit code {process.wait(_PATIENCE)}"
            except (TimeoutError, subprocess.TimeoutExpired):
                problem = f"nothing for {_PATIENCE} seconds"
            finally:
                process.kill()
        if begun:
            yield Outcome(begun, problem)


def _lines(pipe: IO[bytes], patience: float) -> Iterator[bytes]:
    """Raises TimeoutError where the next doesn't come."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        buffered = b""
        while selector.select(patience):
            received = os.read(pipe.fileno(), 1 << 16)
            if not received:
                return
            *lines, buffered = (buffered + received).split(b"\n")
            yield from lines
    raise TimeoutError


@pytest.fixture
def probe(request: pytest.FixtureRequest, tmp_path: Path) -> Probe:
    """Of the kind that the module is named after, `test_KIND.py`."""
    if sys.platform != "linux":
        pytest.skip("memory is measured as Linux says it")
    return Probe(request.path.stem.removeprefix("test_"), tmp_path)
