"""The same command on several machines: here processes, that share nothing but a folder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation import config
from partdistillation.config import Inputs, Recipe

_STAGES = ("objects", "segments", "features", "parts", "part_classes")


def contents(out: Path) -> dict[str, str]:
    """Hashes of all rows, manifests and models of a run."""
    files = [path for stage in _STAGES for path in (out / stage).iterdir() if path.is_file()]
    files += [out / model / "model.safetensors" for model in ("proposal_model", "part_model")]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != ".lock"
    }


@pytest.mark.long
def test_several_commands_make_what_one_makes_though_one_is_killed(
    tmp_path: Path, drawings: Path, tiny_recipe: Recipe
) -> None:
    inputs = Inputs(images=drawings / "train", objects=drawings / "objects_train.json")
    recipe = replace(tiny_recipe, proposals=replace(tiny_recipe.proposals, checkpoint_every=1))

    def start(out: Path, engine: str) -> "subprocess.Popen[bytes]":
        settings = tmp_path / f"{out.name}.yaml"
        settings.write_text(config.to_yaml(recipe, replace(inputs, out=out)), encoding="utf-8")
        command = [sys.executable, "-m", "partdistillation", "run", "--config", str(settings)]
        command += ["--out", str(out), "--engine", engine]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (tmp_path / "messages.txt").open("ab") as messages:
            return subprocess.Popen(command, stdout=messages, stderr=messages, env=environment)

    alone, out = tmp_path / "alone", tmp_path / "out"
    assert start(alone, "processes").wait() == 0, (tmp_path / "messages.txt").read_text()
    workers = [start(out, "shared") for _ in range(3)]
    end = time.monotonic() + 120
    while not (out / "segments").is_dir():
        assert time.monotonic() < end
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    ends = [worker.wait() for worker in workers]
    assert ends == [-signal.SIGKILL, 0, 0], (tmp_path / "messages.txt").read_text()
    assert contents(out) == contents(alone)
