"""A run in a bucket: here moto's S3 server, and processes with mirrors of their own, as on several hosts."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.runs.storage import Storage, open_storage

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # whole runs: a minute each, many on a busy machine

_STAGES = ("objects", "segments", "features", "parts", "part_classes")


def contents(storage: Storage) -> dict[str, str]:
    """Hashes of all rows, manifests and models of a run."""
    keys = [f"{stage}/{name}" for stage in _STAGES for name in storage.names(stage)]
    keys += [f"{model}/model.safetensors" for model in ("proposal_model", "part_model")]
    read = {key: storage.read(key) for key in keys}  # a folder is none, such as what was sorted by class
    return {key: hashlib.sha256(data).hexdigest() for key, data in read.items() if data is not None}


class Hosts:
    """Starts the command, on hosts that share nothing but what is told."""

    def __init__(self, folder: Path, inputs: Inputs, recipe: Recipe) -> None:
        self.folder = folder
        self.settings = folder / "settings.yaml"
        self.settings.write_text(config.to_yaml(recipe, inputs), encoding="utf-8")

    def start(self, host: str, *command: str) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / host)}
        with self.messages(host).open("ab") as messages:
            return subprocess.Popen(
                [sys.executable, "-m", "partdistillation", *command],
                stdout=messages,
                stderr=messages,
                env=environment,
            )

    def messages(self, host: str) -> Path:
        return self.folder / f"{host}.txt"

    def run(self, host: str, out: str) -> "subprocess.Popen[bytes]":
        return self.start(host, "run", "--config", str(self.settings), "--out", out)


@pytest.fixture
def hosts(tmp_path: Path, drawings: Path, tiny_recipe: Recipe) -> Hosts:
    inputs = Inputs(images=drawings / "train", objects=drawings / "objects_train.json")
    recipe = replace(tiny_recipe, proposals=replace(tiny_recipe.proposals, checkpoint_every=1))
    return Hosts(tmp_path, inputs, recipe)


@pytest.fixture
def alone(hosts: Hosts) -> dict[str, str]:
    """What one process leaves on its disk."""
    out = hosts.folder / "alone"
    assert hosts.run("alone", str(out)).wait() == 0, hosts.messages("alone").read_text()
    return contents(open_storage(out))


def test_hosts_that_share_a_bucket_make_what_one_makes_on_its_disk(
    hosts: Hosts, bucket: str, alone: dict[str, str]
) -> None:
    workers = [hosts.run(host, f"{bucket}/runs/mine") for host in ("one", "two", "three")]
    storage = open_storage(f"{bucket}/runs/mine")
    until(lambda: bool(storage.names("segments")), workers)
    workers[0].send_signal(signal.SIGKILL)
    ends = [worker.wait() for worker in workers]
    assert ends == [-signal.SIGKILL, 0, 0], hosts.messages("two").read_text()
    assert contents(storage) == alone


def test_a_store_that_fails_and_a_host_that_dies_in_a_training_change_nothing(
    hosts: Hosts, bucket: str, s3_server: str, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "runs")
    storage = open_storage(f"{bucket}/runs/mine")
    with __import__("faulty_store").faulty(s3_server, share=0.15, seen_after=0.5) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        workers = [hosts.run(host, f"{bucket}/runs/mine") for host in ("one", "two")]
        until(lambda: len(storage.names("checkpoints/proposals")) > 2, workers)  # a checkpoint and its notes
        (claim,) = (name for name in storage.names("claims") if name.startswith("proposals."))
        holder = (storage.read(f"claims/{claim}") or b"").decode()
        (victim,) = (worker for worker in workers if f"process {worker.pid}," in holder)
        victim.send_signal(signal.SIGKILL)
        ends = sorted(worker.wait() for worker in workers)
        assert ends == [-signal.SIGKILL, 0], hosts.messages("one").read_text()
    assert store.happened["lost after"] > 0
    assert contents(storage) == alone


def until(condition: Callable[[], bool], workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    while not condition():
        assert any(worker.poll() is None for worker in workers)
        time.sleep(0.05)
