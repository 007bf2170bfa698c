"""A stage that several hosts write, some of which die, sleep, or have another time: as one process writes."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts import PACKAGE, SCRATCH, Host, until
from stages import WORKER, begin, claimed, contents, ends, holds

from partdistillation.runs.stage_reader import verify

pytestmark = pytest.mark.cluster

MakeHost = Callable[..., Host]


@pytest.fixture
def pair(make_host: MakeHost, disk: Path) -> tuple[Host, Host]:
    return make_host("alpha", disk), make_host("beta", disk)


def test_hosts_share_a_disk_and_nothing_else(pair: tuple[Host, Host], disk: Path) -> None:
    alpha, beta = pair
    assert [host.run(["hostname"]) for host in pair] == ["alpha", "beta"]
    processes = [host.start(["sleep", "60"]) for host in pair]
    assert len({host.number(process) for host, process in zip(pair, processes, strict=True)}) == 1
    assert len({process.pid for process in processes}) == 2
    for process in processes:
        process.kill()
        process.end()
    assert "lo" in alpha.run(["ip", "-o", "link"])
    assert len(alpha.run(["ip", "-o", "link"]).splitlines()) == 1
    alpha.run(["touch", disk / "seen", SCRATCH / "unseen"])
    assert (beta.run(["ls", disk]), beta.run(["ls", SCRATCH])) == ("seen", "")
    assert beta.start(["touch", disk.parent / "elsewhere"]).end()[0] != 0


@pytest.mark.parametrize("workers", [1, 2, 4, 7])
def test_any_number_of_workers_writes_the_same(
    workers: int, make_host: MakeHost, disk: Path, alone: dict[str, str]
) -> None:
    machines = [make_host(name, disk) for name in ("alpha", "beta", "gamma")]
    assert ends([begin(machines[number % 3]) for number in range(workers)]) == [0] * workers
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_other_drivers_write_the_same(engine: str, disk: Path, alone: dict[str, str]) -> None:
    """On this machine, by two processes or actors."""
    if engine == "ray":
        pytest.importorskip("ray")
    command = [sys.executable, str(WORKER), str(disk / "out"), engine, "--workers", "2"]
    subprocess.run(command, check=True)
    assert contents(disk / "out") == alone


def test_a_worker_is_killed(pair: tuple[Host, Host], disk: Path, alone: dict[str, str]) -> None:
    alpha, beta = pair
    workers = [begin(alpha), begin(beta), begin(beta)]
    until(lambda: holds(disk / "out", "alpha"))
    workers[0].kill()
    assert ends(workers) == [-signal.SIGKILL, 0, 0]
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


@pytest.mark.parametrize("sign", ["out", "out/manifest.json", "out/claims", "out/*.parquet"])
def test_the_first_comer_is_killed(
    sign: str, pair: tuple[Host, Host], disk: Path, alone: dict[str, str]
) -> None:
    """As soon as there is a sign of it."""
    alpha, beta = pair
    first = begin(alpha)
    until(lambda: any(disk.glob(sign)))
    first.kill()
    assert ends([begin(beta), first]) == [0, -signal.SIGKILL]
    assert contents(disk / "out") == alone


def test_a_host_is_lost_with_its_claims(make_host: MakeHost, disk: Path, alone: dict[str, str]) -> None:
    lost, *others = (make_host(name, disk) for name in ("alpha", "beta", "gamma"))
    workers = [begin(host, "--workers", "3", "--seconds", "0.8") for host in (lost, *others)]
    until(lambda: sum(holder.startswith("alpha,") for holder in claimed(disk / "out").values()) >= 2)
    lost.kill()
    assert holds(disk / "out", "alpha")
    assert ends(workers) == [-signal.SIGKILL, 0, 0]
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


def test_all_hosts_are_lost(make_host: MakeHost, disk: Path, alone: dict[str, str]) -> None:
    machines = [make_host(name, disk) for name in ("alpha", "beta")]
    workers = [begin(host) for host in machines]
    until(lambda: all(holds(disk / "out", name) for name in ("alpha", "beta")))
    for host in machines:
        host.kill()
    assert ends(workers) == [-signal.SIGKILL] * 2
    assert ends([begin(make_host("gamma", disk))]) == [0]
    assert contents(disk / "out") == alone


@pytest.mark.parametrize("wakes", ["among others", "after the end"])
def test_a_stopped_worker_wakes_when_its_claim_is_taken(
    wakes: str, pair: tuple[Host, Host], disk: Path, alone: dict[str, str]
) -> None:
    alpha, beta = pair
    stopped = begin(alpha, "--seconds", "0.4")
    until(lambda: holds(disk / "out", "alpha"))
    stopped.stop()
    (task,) = claimed(disk / "out")
    successor = begin(beta, "--seconds", "0.4")
    taken = re.sub(r"\.1$", ".2", task)
    until(lambda: taken in claimed(disk / "out"))
    if wakes == "after the end":
        assert ends([successor]) == [0]
        assert contents(disk / "out") == alone
    stopped.wake()
    assert ends([stopped]) == [0]
    if wakes == "among others":
        assert ends([successor]) == [0]
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


def test_clocks_are_ten_minutes_apart(
    make_host: MakeHost, disk: Path, tmp_path: Path, alone: dict[str, str]
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("clocks that are apart need a C compiler")
    clock = tmp_path / "time_of_day.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", clock, WORKER.with_name("time_of_day.c")], check=True)
    clocks = {"slow": 0, "right": 600, "fast": 1200}  # back, none can go before its start
    slow, right, fast = (make_host(name, disk, ahead=ahead, clock=clock) for name, ahead in clocks.items())
    script = "import time; print(time.time(), time.monotonic())"
    told = [map(float, host.run([sys.executable, "-c", script]).split()) for host in (slow, right, fast)]
    for times in zip(*told, strict=True):
        assert [round(time - times[0], -1) for time in times] == [0, 600, 1200]
    workers = [begin(host, "--seconds", "0.4") for host in (slow, right, fast)]
    until(lambda: holds(disk / "out", "fast"))
    workers[2].kill()
    assert ends(workers) == [0, 0, -signal.SIGKILL]
    assert contents(disk / "out") == alone


def test_other_settings_are_refused(pair: tuple[Host, Host], disk: Path, alone: dict[str, str]) -> None:
    alpha, beta = pair
    going = begin(alpha)
    until(lambda: holds(disk / "out", "alpha"))
    code, message = begin(beta, "--setting", "1").end()
    assert (code, "setting: was 0, is now 1" in message) == (1, True), message
    assert ends([going]) == [0]
    assert contents(disk / "out") == alone
    assert verify(disk / "out") == []


def test_another_version_is_refused(
    pair: tuple[Host, Host], disk: Path, tmp_path: Path, alone: dict[str, str]
) -> None:
    alpha, beta = pair
    metadata = tmp_path / "newer/partdistillation-9.0.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: partdistillation\nVersion: 9.0\n")
    going = begin(alpha)
    until(lambda: holds(disk / "out", "alpha"))
    command = [sys.executable, str(WORKER), str(disk / "out"), "shared"]
    code, message = beta.start(command, {"PYTHONPATH": f"{tmp_path / 'newer'}:{PACKAGE}"}).end()
    assert (code, "is now 9.0" in message) == (1, True), message
    assert ends([going]) == [0]
    assert contents(disk / "out") == alone
