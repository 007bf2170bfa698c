"""The same with hosts that share no disk, but a bucket on another host: some die, or lose their network."""

import importlib.util
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hosts import Host, Process, serve_bucket, until
from stages import begin, ends

pytestmark = pytest.mark.cluster

MakeHost = Callable[..., Host]
URL = "s3://bucket/out"
READ = f"""
import hashlib, json
from partdistillation.runs.storage import open_storage

out = open_storage("{URL}")
files = {{name: hashlib.sha256(out.read(name)).hexdigest() for name in out.names("") if name != "claims"}}
claims = {{name: (out.read(f"claims/{{name}}") or b"").decode() for name in out.names("claims")}}
print(json.dumps([files, claims]))
"""


class Hosts(NamedTuple):
    """Three workers' hosts, with what they need to reach the bucket, and one that looks on."""

    workers: list[Host]
    onlooker: Host
    environments: list[dict[str, str]]

    def begin(self, *options: str) -> list[Process]:
        """A worker on each of the three."""
        return [
            begin(host, *options, out=URL, environment=environment)
            for host, environment in zip(self.workers, self.environments, strict=False)
        ]

    def look(self) -> tuple[dict[str, str], dict[str, str]]:
        """SHA-256 of the bucket's files by name, and its claims."""
        code, text = self.onlooker.start([sys.executable, "-c", READ], self.environments[-1]).end()
        assert code == 0, text
        files, claims = json.loads(text)
        return files, claims

    def holds(self, host: str) -> bool:
        """Whether a worker of a host holds a claim."""
        return any(holder.startswith(f"{host},") for holder in self.look()[1].values())


@pytest.fixture
def hosts(make_host: MakeHost, tmp_path: Path) -> Hosts:
    if not all(importlib.util.find_spec(name) for name in ("moto", "obstore")):
        pytest.skip("a bucket needs moto and obstore")
    names = ("alpha", "beta", "gamma", "onlooker", "server")
    for name in names:
        (tmp_path / name).mkdir()
    *clients, server = (make_host(name, tmp_path / name) for name in names)
    return Hosts(clients[:3], clients[3], serve_bucket(server, clients))


def test_a_host_is_lost(hosts: Hosts, alone: dict[str, str]) -> None:
    workers = hosts.begin("--seconds", "0.5")
    until(lambda: hosts.holds("alpha"), 120)
    hosts.workers[0].kill()
    assert ends(workers) == [-signal.SIGKILL, 0, 0]
    assert hosts.look() == (alone, {})


def test_a_host_loses_its_network_and_gets_it_back(hosts: Hosts, alone: dict[str, str]) -> None:
    workers = hosts.begin("--seconds", "0.5")
    until(lambda: hosts.holds("alpha"), 120)
    hosts.workers[0].run(["ip", "link", "set", "eth0", "down"])
    until(lambda: not hosts.holds("alpha"))  # others have taken over
    hosts.workers[0].run(["ip", "link", "set", "eth0", "up"])
    assert ends(workers) == [0, 0, 0]
    assert hosts.look() == (alone, {})
