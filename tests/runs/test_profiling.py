"""Profiles: where costs are counted, what is printed and written, and what workers hand over."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from partdistillation import pipeline
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.runs import profiling
from partdistillation.runs.engine import run_shards
from partdistillation.runs.profiling import Cost, Profile, span, span_each
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import make_shards


def calls(profile: Profile) -> dict[str, int]:
    return {"/".join(place): cost.calls for place, cost in profile.costs.items()}


def test_nothing_is_counted_unless_asked() -> None:
    assert span("encode") is span("group")
    with span("encode"):
        pass
    assert list(span_each("data", [1, 2])) == [1, 2]
    assert profiling.hand_over() == {}
    assert profiling.owner() is None


def test_steps_lie_in_one_another() -> None:
    with profiling.profiled() as profile:
        for _ in range(2):
            with span("segments"):
                with span("read"):
                    pass
                with span("encode"), span("read"):
                    pass
        with span("read"):
            pass
    assert calls(profile) == {
        "segments": 2,
        "segments/read": 2,
        "segments/encode": 2,
        "segments/encode/read": 2,
        "read": 1,
    }
    whole, inside = profile.costs["segments",], profile.costs["segments", "encode"]
    assert whole.wall > inside.wall > 0


def test_waiting_for_items() -> None:
    with profiling.profiled() as profile:
        for _ in span_each("data", iter("abc")):
            with span("forward"):
                pass
    assert calls(profile) == {"data": 4, "forward": 3}  # a fourth look, at the end


def test_threads_have_places_of_their_own() -> None:
    def work() -> None:
        with span("inside"):
            pass

    with profiling.profiled() as profile, span("outside"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert calls(profile) == {"outside": 1, "inside": 1}


def test_an_error_ends_a_step() -> None:
    with profiling.profiled() as profile:
        with pytest.raises(ValueError, match="no"), span("a"), span("b"):
            raise ValueError("no")
        with span("c"):
            pass
    assert calls(profile) == {"a": 1, "a/b": 1, "c": 1}
    assert not profile._open


def test_memory_is_the_peak_within() -> None:
    """In a process of its own: what other tests leave behind may be given back at any time."""
    program = """
import json
import numpy as np
from partdistillation.runs import profiling
from partdistillation.runs.profiling import span

with profiling.profiled() as profile:
    with span("before"):
        pass
    with span("outer"), span("large"):
        np.ones(2**26, np.uint8).sum()  # 64 MiB, given back
    with span("after"):
        pass
print(json.dumps({"/".join(place): cost.memory for place, cost in profile.costs.items()}))
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    memory = json.loads(completed.stdout)
    if not _peak_can_be_forgotten():
        pytest.skip("this system tells the process's peak only")
    assert memory["outer/large"] > memory["before"] + 50
    assert memory["outer"] == memory["outer/large"]
    assert memory["after"] < memory["outer/large"] - 50


def _peak_can_be_forgotten() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def test_what_no_step_covers_is_other() -> None:
    profile = Profile(
        {
            ("a",): Cost(calls=1, wall=10, cpu=9, memory=100),
            ("a", "b"): Cost(calls=3, wall=6, cpu=6, memory=100),
            ("c",): Cost(calls=1, wall=1, cpu=1, memory=50),
        }
    )
    found = {"/".join(place): (cost.wall, cost.cpu) for place, cost in profile.rows()}
    assert found == {"a": (10, 9), "a/b": (6, 6), "a/other": (4, 3), "c": (1, 1)}


def test_profiles_of_processes_add_up() -> None:
    profile = Profile({("a",): Cost(calls=1, wall=2, cpu=1, memory=30)})
    profile.merge({("a",): Cost(calls=2, wall=3, cpu=4, memory=20), ("a", "b"): Cost(calls=1)})
    assert profile.costs["a",] == Cost(calls=3, wall=5, cpu=5, memory=30)
    assert calls(profile) == {"a": 3, "a/b": 1}


def test_what_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "profile.json").write_text('{"objects": [], "segments": []}')
    costs = {
        ("segments",): Cost(calls=2, wall=4, cpu=3.5, memory=2000),
        ("segments", "encode"): Cost(calls=8, wall=4, cpu=3.5, memory=2000),
    }

    def stopped() -> None:
        with profiling.shown(tmp_path):
            profiling.merge(costs)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["│", "encode", "│", "8", "│", "4.00", "│", "3.50", "│", "100.0%", "│", "2,000", "│"] in lines
    written = json.loads((tmp_path / "profile.json").read_bytes())
    assert list(written) == ["objects", "segments"]
    assert written["segments"][1] == {
        "step": "encode",
        "calls": 8,
        "wall_seconds": 4,
        "cpu_seconds": 3.5,
        "peak_mib": 2000,
        "gpu_peak_mib": 0,
    }


def test_torchruns_other_processes_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with profiling.shown(tmp_path), span("a"):
        pass
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_tell_what_they_did(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)  # worker processes look for it there
    crash_stage: Any = __import__("crash_stage")
    with profiling.profiled() as profile:
        run_shards(
            tmp_path / "out",
            row=ObjectRow,
            shards=make_shards(crash_stage.make_items(8), size=2),
            settings=crash_stage.SETTINGS,
            make_work=crash_stage.make_work,
            workers=workers,
            label="objects",
        )
    assert calls(profile) == {
        "objects": max(workers, 1) + 4 + 4,  # to prepare, to label, to commit
        "objects/prepare": max(workers, 1),
        "objects/write": 4 + 4,
    }


def test_the_steps_of_the_segments_stage(drawings: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    inputs = Inputs(
        images=drawings / "train", objects=drawings / "objects_train.json", out=tmp_path, device="cpu"
    )
    pipeline.objects(inputs, tiny_recipe)
    with profiling.profiled() as profile:
        pipeline.segments(inputs, tiny_recipe)
    found = calls(profile)
    steps = ("prepare", "read", "resize", "encode", "group", "refine", "encode masks", "write")
    assert list(found) == ["segments", *(f"segments/{name}" for name in steps)]
    assert found["segments/encode"] == 12


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(_: object) -> None:
        with span("segments"):
            pass

    monkeypatch.setitem(cli.COMMANDS, "segments", cli.COMMANDS["segments"]._replace(function=command))
    assert cli.main(["segments", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["segments", "--out", str(tmp_path), "--profile"]) == 0
    assert "segments" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "profile.json").read_bytes())) == ["segments"]
