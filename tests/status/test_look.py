"""`partdistill status`: of runs that go on, stand still, are damaged, or nothing yet; also in a bucket."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from partdistillation.commands.main import main
from partdistillation.config import Inputs, to_yaml
from partdistillation.errors import InputError
from partdistillation.recipes import SMALL
from partdistillation.runs.atomic import locked
from partdistillation.runs.notes import write_note
from partdistillation.runs.storage import open_storage
from partdistillation.status.lines import lines
from partdistillation.status.look import Status, look

from .conftest import MakeShards


class Clock:
    """Turned by whoever waits."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.now, self._then = 1000.0, then

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._then()


def looked(place: str, seconds: float = 12.0, then: Callable[[], object] = lambda: None) -> Status:
    """A look that takes no time; `then` happens in every second of it."""
    clock = Clock(then)
    return look(place, seconds, wait=clock.wait, clock=clock)


def text(status: Status) -> str:
    return "\n".join(lines(status))


def by_name(status: Status, name: str) -> dict[str, object]:
    return next(stage for stage in status.to_dict()["stages"] if stage["stage"] == name)


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    status = looked(str(tmp_path))
    assert status.state == "nothing there"
    assert text(status) == f"{tmp_path}: no stage of a run has begun in it"
    with pytest.raises(InputError, match="expected the folder of a run"):
        looked(str(tmp_path / "none"))


def test_a_run_that_stands_still(tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "objects", shards=2, done=2, bad=1)
    make_shards(tmp_path / "segments", shards=2, done=1)
    write_note(tmp_path / "seconds.json", {"objects": 125.0})
    status = looked(str(tmp_path))
    assert status.state == "quiet"
    assert status.left is None
    said = text(status)
    assert "quiet. Nothing changed in 12 s" in said
    assert "objects       done      8 photographs, took 0:02:05" in said
    assert "segments      begun     4 of 8 photographs" in said
    assert "Rejected: 2 of 8 photographs\n        2  no objects" in said


def test_a_run_that_goes_on_here(tmp_path: Path, make_shards: MakeShards) -> None:
    folder = make_shards(tmp_path / "objects", shards=5, done=3)
    for place, name in enumerate(["manifest.json", *(f"s-{number:05d}.parquet" for number in range(3))]):
        os.utime(folder / name, (1000 + 2 * place, 1000 + 2 * place))
    write_note(
        tmp_path / "expected_seconds.json",
        {"segments": 10.0, "proposals": 20.0, "ranking": 30.0, "distillation": 40.0},
    )
    with locked(tmp_path, name=".objects.lock"):
        status = looked(str(tmp_path)) if Path("/proc/locks").exists() else None
    if status is None:
        pytest.skip("needs the system's list of locks")
    assert (status.state, status.here) == ("going on", True)
    assert by_name(status, "objects")["a_second"] == 2.0  # a shard of four in two seconds
    assert status.left == 4.0 + 10 + 20 + 30 + 40


def test_a_pause_does_not_count(tmp_path: Path, make_shards: MakeShards) -> None:
    folder = make_shards(tmp_path / "objects", shards=6, done=5)
    times = (0, 1, 2, 10_000, 10_004, 10_008)
    for name, seconds in zip(
        ["manifest.json", *(f"s-{number:05d}.parquet" for number in range(5))], times, strict=True
    ):
        os.utime(folder / name, (1000 + seconds, 1000 + seconds))
    assert by_name(looked(str(tmp_path)), "objects")["a_second"] == 1.0


def test_a_training(tmp_path: Path, make_shards: MakeShards) -> None:
    for folder in ("objects", "segments"):
        make_shards(tmp_path / folder, shards=2, done=2)
    recipe = SMALL.updated({"proposals": {"max_epochs": 0, "steps": 200}})
    (tmp_path / "config.yaml").write_text(to_yaml(recipe, Inputs(out=tmp_path)))
    (tmp_path / "checkpoints" / "proposals").mkdir(parents=True)
    checkpoint = tmp_path / "checkpoints" / "proposals" / "step-00000040.safetensors"
    checkpoint.touch()
    records = [{"stage": "proposals", "step": step, "loss": 9.0 - step / 20} for step in (0, 20, 99)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    os.utime(checkpoint, (1000, 1000))
    os.utime(tmp_path / "metrics.jsonl", (1030, 1030))
    stage = by_name(looked(str(tmp_path)), "proposals")
    assert (stage["done"], stage["total"], stage["loss"]) == (100, 200, 4.05)
    assert (stage["a_second"], stage["seconds_left"]) == (2.0, 50.0)


def test_a_run_that_several_share(tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "objects", shards=3, done=1, engine="shared")
    claims = tmp_path / "objects" / "claims"
    claims.mkdir(exist_ok=True)
    (claims / "s-00001.1").write_text("a, process 7, 12\n5\n")
    (claims / "s-00002.4").write_text("b, process 9, 34\n1\n")

    status = looked(str(tmp_path), then=lambda: (claims / "s-00001.1").write_text("a, process 7, 12\n6\n"))
    assert status.state == "going on"
    said = text(status)
    assert "objects       going on  4 of 12 photographs" in said
    assert "Workers at a task: 2, of which 1 gave a sign of life in 12 s (a 1)" in said
    assert "  b, process 9, 34, at objects, shard s-00002" in said
    assert "objects, shard s-00002: 3 workers died, or were stopped, at it; nobody tries it again" in said


def test_what_predict_writes(tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "objects", shards=2, done=2)
    make_shards(tmp_path / "predictions", shards=2, done=1)
    status = looked(str(tmp_path))
    assert [(stage.stage.name, stage.state) for stage in status.stages] == [
        ("objects", "done"),
        ("predictions", "begun"),
    ]
    make_shards(tmp_path / "predictions", shards=2, done=2)
    assert looked(str(tmp_path)).state == "finished"


@pytest.mark.parametrize("damage", ["objects/manifest.json", "config.yaml", "metrics.jsonl", "seconds.json"])
def test_damaged_files_are_named(tmp_path: Path, make_shards: MakeShards, damage: str) -> None:
    make_shards(tmp_path / "objects", shards=2, done=1)
    (tmp_path / damage).write_bytes(b"\xff[damaged")
    status = looked(str(tmp_path))
    named = [problem for problem in status.problems if damage in problem]
    assert len(named) == (damage in ("objects/manifest.json", "config.yaml"))
    assert "objects" in text(status)


def test_missing_shards_are_named(tmp_path: Path, make_shards: MakeShards) -> None:
    folder = make_shards(tmp_path / "objects", shards=2, done=2)
    (folder / "s-00000.parquet").unlink()
    assert "1 committed shards are missing, such as s-00000.parquet" in text(looked(str(tmp_path)))


def test_the_command(tmp_path: Path, make_shards: MakeShards, capsys: pytest.CaptureFixture[str]) -> None:
    make_shards(tmp_path / "objects", shards=2, done=1)
    assert main(["status", str(tmp_path), "--watch", "0", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["state"], values["stages"][0]["done"], values["problems"]) == ("quiet", 4, [])
    assert main(["status", str(tmp_path / "none")]) == 2
    assert main(["status"]) == 2


def test_a_run_in_a_bucket(bucket: str, tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "objects", shards=3, done=2, engine="shared", bad=1)
    storage = open_storage(f"{bucket}/run")
    assert looked(f"{bucket}/run").state == "nothing there"
    for path in (tmp_path / "objects").glob("[!.]*.*"):
        storage.write(f"objects/{path.name}", path.read_bytes())
    storage.write("objects/claims/s-00002.1", b"a, process 7\n5\n")

    beat = partial(storage.write, "objects/claims/s-00002.1", b"a, process 7\n6\n")
    status = looked(f"{bucket}/run", then=beat)
    assert status.state == "going on"
    assert (by_name(status, "objects")["done"], by_name(status, "objects")["total"]) == (8, 12)
    assert status.rejected.photographs == 2
    assert [worker.name for worker in status.workers] == ["a, process 7"]
