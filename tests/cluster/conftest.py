"""Hosts for the tests of this folder; where there can't be any, the tests are skipped and say so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hosts
import pytest


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """What the hosts share."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def make_host() -> Iterator[Callable[..., hosts.Host]]:
    """Makes hosts that end with the test: `make_host(name, disk)`."""
    if lacking := hosts.missing():
        pytest.skip(f"hosts of one machine need {lacking}")
    made: list[hosts.Host] = []

    def make(name: str, disk: Path, *, ahead: int = 0, clock: Path | None = None) -> hosts.Host:
        made.append(hosts.Host(name, disk, ahead=ahead, clock=clock))
        return made[-1]

    yield make
    for host in made:
        host.kill()
