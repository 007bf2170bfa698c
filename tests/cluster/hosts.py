"""Machines for tests, as far as one kernel can keep them apart.

A host has its own name, network, process numbers, clock and scratch space. Everything else it can only read,
but for one disk, which other hosts may have too. When it ends, its processes do, as in a power cut.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path

import partdistillation

PACKAGE = Path(partdistillation.__file__).parents[1]
"""Where hosts import it from too: they begin in another folder."""
SFTP = Path("/usr/lib/openssh/sftp-server")
_FILES_PORT, _BUCKET_PORT = 2222, 5000
_FILE_SERVER = f"""
import socketserver
import subprocess

class Client(socketserver.BaseRequestHandler):
    def handle(self):
        subprocess.run(["{SFTP}"], stdin=self.request, stdout=self.request)

socketserver.ThreadingTCPServer(("", {_FILES_PORT}), Client).serve_forever()
"""
_BUCKET_SERVER = f"""
import logging
import time
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
ThreadedMotoServer(ip_address="0.0.0.0", port={_BUCKET_PORT}, verbose=False).start()
time.sleep(10**6)
"""
NEEDED = ("unshare", "nsenter", "ip", "mount")
SCRATCH = Path("/dev/shm")
"""Where a host may write what nobody else sees."""

_SET_UP = """set -e
hostname "$1"
ip link set lo up
mount --bind "$2" "$2"
mount -o remount,bind,ro /
mount -t tmpfs scratch /dev/shm
echo ready
exec cat
"""
"""It ends with what is written to it: when the tests do, however they end."""


@cache
def missing() -> str:
    """What this machine lacks for hosts; empty where it lacks nothing."""
    if os.geteuid() != 0:
        return "root"
    if commands := ", ".join(name for name in NEEDED if shutil.which(name) is None):
        return commands
    made: list[Host] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            made += [Host("alpha", Path(folder)), Host("beta", Path(folder))]
            connect(made[0], made[1:])
    except (AssertionError, subprocess.CalledProcessError):
        return "namespaces, mounts in them and veth, which this system doesn't allow"
    finally:
        for host in made:
            host.kill()
    return ""


class Process:
    """A process of a host: `pid` is its number here, `Host.number` its number there."""

    def __init__(self, door: "subprocess.Popen[str]") -> None:
        self._door = door
        self._ended: tuple[int, str] | None = None

    @cached_property
    def pid(self) -> int:
        return _child(self._door)

    def kill(self) -> None:
        """End it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Let it stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        for pid in (self._door.pid, self.pid):  # nsenter stops when its child does
            os.kill(pid, signal.SIGCONT)

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """Wait for it: its exit code, negative for a signal, and what it said."""
        if self._ended is None:
            output, _ = self._door.communicate(timeout=seconds)
            self._ended = self._door.returncode, output
        return self._ended

    def is_alive(self) -> bool:
        """Whether it hasn't ended."""
        return self._door.poll() is None


class Host:
    """A machine.

    Args:
        name: its host name.
        disk: the folder that it may write to.
        ahead: seconds by which its clocks, that of the day and the one that counts from the start, are ahead.
        clock: the library made of `time_of_day.c`, which moves the first; a namespace moves the second.
    """

    def __init__(self, name: str, disk: Path, *, ahead: int = 0, clock: Path | None = None) -> None:
        self.disk = disk
        self._begun: list[Process] = []
        self._time_of_day = {"LD_PRELOAD": str(clock), "SECONDS_AHEAD": str(ahead)} if clock else {}
        command = ["unshare", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount"]
        command += [
            "--mount-proc",
            "--time",
            "--monotonic",
            str(ahead),
            "sh",
            "-c",
            _SET_UP,
            "sh",
            name,
            str(disk),
        ]
        self._door = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._door.stdout is not None
        assert self._door.stdout.readline() == "ready\n", f"{name} couldn't be set up"
        self.init = _child(self._door)

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Process:
        """Begin a process on it."""
        scratch = {name: str(SCRATCH) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
        process = Process(
            subprocess.Popen(
                ["nsenter", "--target", str(self.init), "--all", "--", *map(str, command)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(PACKAGE),
                    **scratch,
                    **self._time_of_day,
                    **(environment or {}),
                },
            )
        )
        self._begun.append(process)
        return process

    def run(self, command: Sequence[str | Path]) -> str:
        """Run a command that succeeds; what it said."""
        code, output = self.start(command).end()
        assert code == 0, output
        return output.strip()

    def number(self, process: Process) -> int:
        """A process's number as the host knows it."""
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:"))

    def kill(self) -> None:
        """Cut its power."""
        if self._door.poll() is None:
            os.kill(self.init, signal.SIGKILL)
            self._door.communicate()
        for process in self._begun:
            process.end()


def connect(server: Host, clients: Sequence[Host]) -> list[str]:
    """Lay a cable from a host to each of others; the addresses under which it is known to each of them."""
    for number, client in enumerate(clients):
        cable = ["type", "veth", "peer", "name", "eth0", "netns", str(client.init)]
        subprocess.run(["ip", "link", "add", f"to{number}", "netns", str(server.init), *cable], check=True)
        for host, place, end in (server, f"to{number}", 1), (client, "eth0", 2):
            host.run(["ip", "address", "add", f"10.77.{number}.{end}/24", "dev", place])
            host.run(["ip", "link", "set", place, "up"])
    return [f"10.77.{number}.1" for number in range(len(clients))]


def share_over_network(server: Host, folder: Path, clients: Sequence[Host]) -> None:
    """Mount a folder of one host as the disk of others, by sshfs with its caches.

    Locks of a client aren't known to the other ones.
    """
    server.start([sys.executable, "-c", _FILE_SERVER])
    for address, client in zip(connect(server, clients), clients, strict=True):
        mount = ["sshfs", f"{address}:{folder}", str(client.disk), "-o", f"directport={_FILES_PORT}"]
        until(partial(_succeeds, client, mount))


def serve_bucket(server: Host, clients: Sequence[Host]) -> list[dict[str, str]]:
    """Have a host serve a bucket called `bucket`, by moto; for each of the others the environment for it."""
    server.start([sys.executable, "-c", _BUCKET_SERVER])
    addresses = [f"http://{address}:{_BUCKET_PORT}" for address in connect(server, clients)]
    script = f"import urllib.request as r; r.urlopen(r.Request('{addresses[0]}/bucket', method='PUT'))"
    until(partial(_succeeds, server, [sys.executable, "-c", script]))
    keys = {"AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}
    return [{"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", **keys} for address in addresses]


def _succeeds(host: Host, command: Sequence[str]) -> bool:
    return host.start(command).end()[0] == 0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that is to happen soon."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it hasn't happened"
        time.sleep(0.005)


def _child(parent: "subprocess.Popen[str]") -> int:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    until(lambda: bool(children.read_text(encoding="ascii").split()))
    return int(children.read_text(encoding="ascii").split()[0])
