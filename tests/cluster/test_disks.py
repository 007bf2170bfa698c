"""The same on other disks: hard links of their own kind; over a network no locks that reach other hosts."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts import SFTP, Host, missing, share_over_network, until
from stages import WORKER, begin, claimed, contents, ends, holds

pytestmark = pytest.mark.cluster

MakeHost = Callable[..., Host]


@pytest.fixture(params=["ext4", "overlay", "tmpfs"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of one kind."""
    if lacking := missing():
        pytest.skip(f"disks of one machine need {lacking}")
    if request.param == "ext4" and shutil.which("mkfs.ext4") is None:
        pytest.skip("a disk with ext4 needs mkfs.ext4")
    folder = tmp_path / "disk"
    for name in ("disk", "lower", "layers/upper", "layers/work"):
        (tmp_path / name).mkdir(parents=True)
    commands: dict[str, list[list[str | Path]]] = {
        "ext4": [
            ["mkfs.ext4", "-q", tmp_path / "file", "64m"],
            ["mount", "-o", "loop", tmp_path / "file", folder],
        ],
        "overlay": [
            ["mount", "-t", "tmpfs", "layers", tmp_path / "layers"],
            ["mkdir", tmp_path / "layers/upper", tmp_path / "layers/work"],
            ["mount", "-t", "overlay", "-o", _layers(tmp_path), "overlay", folder],
        ],
        "tmpfs": [["mount", "-t", "tmpfs", "disk", folder]],
    }
    for command in commands[request.param]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a disk with {request.param} can't be mounted here: {done.stderr.strip()}")
    yield folder
    for mount in (folder, tmp_path / "layers"):
        if mount.is_mount():
            subprocess.run(["umount", "--lazy", mount], check=True)


def _layers(folder: Path) -> str:
    return f"lowerdir={folder / 'lower'},upperdir={folder / 'layers/upper'},workdir={folder / 'layers/work'}"


@pytest.fixture
def remote(make_host: MakeHost, disk: Path, tmp_path: Path) -> tuple[Host, Host]:
    """Two hosts whose disk is a folder of a third one, over a network."""
    if shutil.which("sshfs") is None or not SFTP.exists() or not Path("/dev/fuse").exists():
        pytest.skip("a disk over a network needs sshfs, openssh-sftp-server and /dev/fuse")
    (tmp_path / "mount").mkdir()
    server = make_host("server", disk)
    clients = make_host("alpha", tmp_path / "mount"), make_host("beta", tmp_path / "mount")
    share_over_network(server, disk, clients)
    return clients


def test_a_worker_is_killed(make_host: MakeHost, mounted: Path, alone: dict[str, str]) -> None:
    alpha, beta = make_host("alpha", mounted), make_host("beta", mounted)
    workers = [begin(alpha), begin(beta), begin(beta)]
    until(lambda: holds(mounted / "out", "alpha"))
    workers[0].kill()
    assert ends(workers) == [-signal.SIGKILL, 0, 0]
    assert contents(mounted / "out") == alone
    assert claimed(mounted / "out") == {}


def test_a_host_of_a_network_disk_is_lost(
    remote: tuple[Host, Host], disk: Path, alone: dict[str, str]
) -> None:
    alpha, beta = remote
    workers = [begin(alpha), begin(alpha), begin(beta)]
    until(lambda: holds(disk / "out", "alpha"))
    alpha.kill()
    assert ends(workers) == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


def test_a_host_loses_its_network_and_gets_it_back(
    remote: tuple[Host, Host], disk: Path, alone: dict[str, str]
) -> None:
    """Cut off, it can neither work nor give signs of life; its claims are taken meanwhile."""
    alpha, _ = remote
    workers = [begin(host, "--seconds", "0.4") for host in remote]
    until(lambda: holds(disk / "out", "alpha"))
    alpha.run(["ip", "link", "set", "eth0", "down"])
    until(lambda: any(name.endswith(".2") for name in claimed(disk / "out")))
    alpha.run(["ip", "link", "set", "eth0", "up"])
    assert ends(workers) == [0, 0]
    assert contents(disk / "out") == alone
    assert claimed(disk / "out") == {}


def test_alone_and_shared_are_refused_together_where_no_lock_reaches(
    remote: tuple[Host, Host], disk: Path, alone: dict[str, str]
) -> None:
    alpha, beta = remote
    sharing = begin(alpha, "--seconds", "0.6")
    until(lambda: holds(disk / "out", "alpha"))
    code, message = beta.start([sys.executable, WORKER, beta.disk / "out", "processes"]).end()
    assert (code, "the work of several workers" in message) == (1, True), message
    assert ends([sharing]) == [0]
    assert contents(disk / "out") == alone


def test_a_stopped_training_leaves_when_it_wakes(remote: tuple[Host, Host], disk: Path) -> None:
    """No lock tells its successor of it."""
    stopped, successor = (begin(host, "--training") for host in remote)
    until(lambda: holds(disk / "out", "alpha") or holds(disk / "out", "beta"))
    if holds(disk / "out", "beta"):
        stopped, successor = successor, stopped
    until((disk / "out" / "steps").exists)
    stopped.stop()
    until((disk / "out" / "claims" / "training.2").exists)
    stopped.wake()
    code, message = stopped.end()
    assert (code, "another worker has taken over" in message) == (2, True), message
    assert ends([successor]) == [0]
    assert (disk / "out" / "model").read_text() == "40"
