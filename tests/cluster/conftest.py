"""Hosts, and what one process writes. Where there can't be hosts the tests are skipped, and say so."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hosts
import pytest
import stages


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """What the hosts share."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """SHA-256 of the small stage's files, written by one process that shares nothing."""
    out = tmp_path_factory.mktemp("alone") / "out"
    subprocess.run([sys.executable, stages.WORKER, out, "processes", "--seconds", "0"], check=True)
    return stages.contents(out)


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
