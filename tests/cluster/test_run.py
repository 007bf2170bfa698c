"""A whole run, that hosts share and in which one is lost at a training: what one process makes."""

import hashlib
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hosts import Host, Process, until

from partdistillation import config
from partdistillation.config import Inputs, Recipe

pytestmark = [pytest.mark.cluster, pytest.mark.long]

MakeHost = Callable[..., Host]
PROGRAM = """import sys
from partdistillation.commands.main import main
from partdistillation.runs import claims

claims.Claims.patience, claims.Claims.heartbeat = 3.0, 0.2
sys.exit(main(sys.argv[1:]))
"""
"""The command, with less patience."""
FILES = (
    "*/*.parquet",
    "*/manifest.json",
    "part_classes/*",
    "*/*.safetensors",
    "*/config.json",
    "metrics.jsonl",
)


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of rows, manifests, models and losses."""
    paths = {path for pattern in FILES for path in out.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)
    }


@pytest.fixture
def begin(drawings: Path, tiny_recipe: Recipe, tmp_path: Path) -> Callable[[Host, str], Process]:
    """Starts the command on a host, with an engine; `out` is named like that."""
    settings = tmp_path / "settings.yaml"
    recipe = replace(tiny_recipe, proposals=replace(tiny_recipe.proposals, steps=40))
    inputs = Inputs(images=drawings / "train", objects=drawings / "objects_train.json", device="cpu")
    settings.write_text(config.to_yaml(recipe, inputs), encoding="utf-8")

    def start(host: Host, engine: str) -> Process:
        arguments = ["run", "--config", str(settings), "--out", str(host.disk / engine), "--engine", engine]
        compiled = str(host.disk / "compiled")  # once, not on each host
        environment = {"OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": compiled}
        return host.start([sys.executable, "-c", PROGRAM, *arguments], environment)

    return start


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fate", ["killed", "stopped"])
def test_a_host_is_lost_in_a_training(
    fate: str, begin: Callable[[Host, str], Process], make_host: MakeHost, disk: Path
) -> None:
    hosts = {name: make_host(name, disk) for name in ("alpha", "beta", "gamma")}
    code, said = begin(hosts["alpha"], "processes").end(600)
    assert code == 0, said
    workers = {name: begin(host, "shared") for name, host in hosts.items()}
    out = disk / "shared"
    until(lambda: any(out.glob("checkpoints/*/step-*")), 300)
    name = (out / "claims" / "proposals.1").read_text().split(",")[0]
    if fate == "killed":
        hosts[name].kill()
    else:
        workers[name].stop()
        until((out / "claims" / "proposals.2").exists, 60)
        workers[name].wake()
    ends = {name: worker.end(600) for name, worker in workers.items()}
    lost = -signal.SIGKILL if fate == "killed" else 2
    assert {name: code for name, (code, _) in ends.items()} == {
        other: lost if other == name else 0 for other in hosts
    }, ends
    assert "another worker has taken over" in ends[name][1] or fate == "killed"
    assert contents(out) == contents(disk / "processes")
    assert list((out / "claims").iterdir()) == []
