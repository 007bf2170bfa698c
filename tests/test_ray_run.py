"""A run on a Ray cluster: two of its machines, here on one, and one of them dies."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from partdistillation import config
from partdistillation.config import Inputs, RayCluster, Recipe
from partdistillation.errors import ConfigError
from partdistillation.runs import ray_cluster
from partdistillation.runs.ray_actors import map_on_actors
from partdistillation.runs.stage_reader import contents_hash
from partdistillation.runs.versions import versions

_MADE = ("objects", "segments", "features", "parts", "proposal_model", "part_model")


@pytest.fixture
def cluster() -> Iterator[Any]:
    utilities = pytest.importorskip("ray.cluster_utils")
    nodes = utilities.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1, num_gpus=1)  # as Ray counts: nothing looks for one
    yield nodes
    nodes.shutdown()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_on_a_cluster_makes_what_one_machine_makes_though_a_node_dies(
    tmp_path: Path, drawings: Path, tiny_recipe: Recipe, cluster: Any
) -> None:
    inputs = Inputs(images=drawings / "train", objects=drawings / "objects_train.json")

    def start(out: str, *flags: str) -> "subprocess.Popen[bytes]":
        settings = tmp_path / f"{out}.yaml"
        settings.write_text(config.to_yaml(tiny_recipe, replace(inputs, out=Path(out))), encoding="utf-8")
        command = [sys.executable, "-m", "partdistillation", "run", "--config", settings.name, "--out", out]
        with (tmp_path / "messages.txt").open("ab") as messages:
            return subprocess.Popen(
                [*command, *flags],
                stdout=messages,
                stderr=messages,
                cwd=tmp_path,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def messages() -> str:
        return (tmp_path / "messages.txt").read_text()

    assert start("alone").wait() == 0, messages()
    run = start(
        "out", "--device", "cpu", "--engine", "ray", "--ray-address", cluster.address, "--workers", "2"
    )
    end = time.monotonic() + 600
    while not list((tmp_path / "out" / "segments").glob("*.parquet")):
        assert run.poll() is None, messages()
        assert time.monotonic() < end
        time.sleep(0.02)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    assert run.wait() == 0, messages()
    made, alone = ({name: contents_hash(tmp_path / out / name) for name in _MADE} for out in ("out", "alone"))
    assert made == alone


@pytest.mark.long
def test_a_cluster_with_other_software_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    here = {**versions(), "numpy": "0.1", "nowhere": "1.0"}
    monkeypatch.setattr(ray_cluster, "versions", lambda: here)
    with pytest.raises(
        ConfigError,
        match=r"found on [\d.]+, of the cluster, numpy [\d.]+ \(here 0.1\), nowhere not installed \(",
    ):
        ray_cluster.connect(RayCluster(cluster.address), 1)
    assert not ray.is_initialized()


@pytest.mark.long
def test_an_actor_has_a_gpu_where_there_are_some(cluster: Any) -> None:
    def seen(place: RayCluster) -> list[str | None]:
        make = partial(partial, os.getenv)
        answers = map_on_actors(make, lambda _: "CUDA_VISIBLE_DEVICES", range(3), 2, place)
        return [answer for _, answer in answers]

    place = RayCluster(cluster.address)
    try:
        assert seen(place) == ["0", "0", "0"]
        assert not any(seen(replace(place, gpus=False)))
    finally:
        sys.modules["ray"].shutdown()
