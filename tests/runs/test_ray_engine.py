"""Shards on actors of Ray, on this machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from partdistillation.config import RayCluster
from partdistillation.errors import PartDistillationError
from partdistillation.runs.manifest import load
from partdistillation.runs.ray_cluster import connect
from partdistillation.runs.storage import open_storage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crash_stage() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # actors look for it there
        yield __import__("crash_stage")


@pytest.fixture(scope="module")
def ray(crash_stage: Any) -> Iterator[Any]:
    pytest.importorskip("ray")
    module = connect(RayCluster(), 2)
    yield module
    module.shutdown()


@pytest.fixture
def run(crash_stage: Any, ray: Any) -> Callable[..., Path]:
    run_with: Callable[..., Path] = crash_stage.run_with
    return run_with


def test_actors_store_the_bytes_that_one_process_does(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    alone = crash_stage.contents(run(tmp_path / "alone", engine="processes"))
    out = run(tmp_path / "out")
    assert crash_stage.contents(out) == alone
    (out / "images-00001.parquet").write_bytes(b"damaged")
    assert crash_stage.contents(run(out)) == alone


def test_an_error_stops_the_actors_and_names_its_shard(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run(tmp_path / "out", make_work=crash_stage.make_failing_work)
    traceback, place = error.value.__notes__
    assert "in failing_work" in traceback
    assert place == "(objects, shard images-00002)"


@pytest.mark.long
def test_a_shard_that_kills_three_actors_is_named_when_all_others_are_there(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(PartDistillationError, match="3 workers died one after the other at images-00002;"):
        run(out, make_work=crash_stage.make_dying_work)
    assert [entry.name for entry in load(out).shards if not entry.sha256] == ["images-00002"]
    assert crash_stage.contents(run(out)) == crash_stage.contents(run(tmp_path / "again"))


@pytest.mark.long
def test_actors_that_die_before_they_begin_stop_it(run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(PartDistillationError, match="3 workers of the Ray cluster died one after the other"):
        run(tmp_path / "out", make_work=partial(os._exit, 1))


@pytest.mark.long
def test_actors_store_into_a_bucket(crash_stage: Any, bucket: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    crash_stage.run_with(tmp_path / "alone", engine="processes")
    script = (
        "import crash_stage; from partdistillation.runs.mirror import open_mirror\n"
        f"crash_stage.run_with(open_mirror({bucket + '/run'!r}) / 'objects')"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    storage = open_storage(f"{bucket}/run/objects")
    stored = {name: storage.read(name) for name in storage.names("")}
    alone = crash_stage.contents(tmp_path / "alone")
    assert stored == {name: data for name, data in alone.items() if name in stored}
    assert {name for name in alone if not name.startswith(".")} - set(stored) <= {"journal.jsonl"}
