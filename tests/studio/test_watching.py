"""Watching a run: its state, how far it is, what is shown of it."""

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from partdistillation.runs.atomic import locked
from partdistillation.runs.notes import write_note
from partdistillation.status.metrics import metrics_of
from partdistillation.status.pace import Pace
from partdistillation.status.progress import left_in_all
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import REPORT
from partdistillation.studio.losses import charts
from partdistillation.studio.processes import LOG, NOTE
from partdistillation.studio.progress import progress, state_of
from partdistillation.studio.watching import arguments_of

from .conftest import HOSTILE, MakeRun


def said(out: Path, text: str, **note: object) -> None:
    """Leave what a process that has ended would have left."""
    write_note(out / "studio" / NOTE, {"pid": 4_000_000, "started": "then", "log": 0, "argv": [], **note})
    (out / "studio" / LOG).write_text(text)


# ---------------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("text", "stopping", "state"),
    [
        ("partdistill: expected a car", False, "failed"),
        ("", False, "failed"),
        ("stopped; run the same command again to go on", False, "stopped"),
        ("Traceback (most recent call last):\nKeyboardInterrupt", True, "stopped"),
    ],
)
def test_a_run_that_has_ended(make_run: MakeRun, text: str, stopping: bool, state: str) -> None:
    out = make_run()
    said(out, text, stopping=stopping)
    assert state_of(out) == state


def test_a_run_is_finished_when_all_of_it_is_there(make_run: MakeRun) -> None:
    out = make_run()
    assert state_of(out) == "stopped"
    for model in ("proposal_model", "part_model"):
        (out / model).mkdir()
        (out / model / "config.json").touch()
    assert state_of(out) == "finished"  # of another command, without a report
    said(out, "partdistill: no report")
    assert state_of(out) == "failed"
    (out / "part_classes").mkdir(exist_ok=True)
    (out / REPORT).parent.mkdir()
    (out / REPORT).touch()
    assert state_of(out) == "finished"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs the system's list of locks")
def test_a_run_of_a_terminal_is_seen_and_left_alone(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    with locked(out, name=".segments.lock"):
        assert state_of(out) == "going on"
        assert client.post("/api/runs/cars/stop", json={}).status_code == 409
        assert client.post("/api/runs/cars/resume", json={}).status_code == 409
    assert state_of(out) == "stopped"


def test_resuming_is_the_same_command_again(make_run: MakeRun) -> None:
    out = make_run()
    assert arguments_of(out) == ["run", "--out", str(out)]
    said(out, "", argv=["python", "-m", "partdistillation", "run", "--images", "x", "--out", str(out)])
    assert arguments_of(out) == ["run", "--images", "x", "--out", str(out)]
    said(out, "", argv=["python", "-m", "partdistillation", "run", "--images", "x", "--out", "/moved"])
    assert arguments_of(out) == ["run", "--out", str(out)]


def test_two_browsers_resume_once(
    make_run: MakeRun, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sleeps"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    make_run()
    assert client.post("/api/runs/cars/resume", json={}).json() == {"state": "going on"}
    assert client.post("/api/runs/cars/resume", json={}).status_code == 409
    seen = client.get("/api/runs/cars/watch").json()
    assert (seen["state"], seen["here"]) == ("going on", True)
    assert client.post("/api/runs/cars/stop", json={}).json()["state"] in ("stopping", "stopped")
    client.post("/api/runs/cars/stop", json={})


# ---------------------------------------------------------------------- how far


def test_how_far_a_run_is(make_run: MakeRun) -> None:
    out = make_run(images=4)
    write_note(out / "seconds.json", {"objects": 2.0})
    write_note(out / "expected_seconds.json", {"proposals": 100.0, "ranking": 9.0, "distillation": 60.0})
    lines = [{"stage": "proposals", "step": step, "mask": 0.5} for step in (0, 20)]
    (out / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{torn")
    said(out, "proposals: 10/84 steps, 0:01:00 left")
    stages = {stage.stage.name: stage for stage in progress(out, going_on=True, pace=Pace())}
    assert (stages["objects"].state, stages["objects"].seconds) == ("done", 2.0)
    assert (stages["proposals"].state, stages["proposals"].done, stages["proposals"].total) == (
        "going on",
        21,
        84,
    )
    assert stages["proposals"].left == 75.0  # three quarters of what was expected
    assert stages["distillation"].state == "waiting"
    assert left_in_all(list(stages.values())) == 75.0 + 9.0 * 0 + 60.0  # its candidates are there already
    assert _steps(out, "proposals") == 21


def _steps(out: Path, training: str) -> int:
    return metrics_of(RunFiles(out)).steps.get(training, 0)


def test_losses_are_read_on_from_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "proposals", "step": 0, "mask": 1.0}\n')
    assert _steps(tmp_path, "proposals") == 1
    with path.open("a") as file:
        file.write('{"stage": "proposals", "step": 20, "mask": 0.5}\nnot JSON\n[]\n{"stage": "x"}\n')
    assert _steps(tmp_path, "proposals") == 21
    (chart,) = charts(tmp_path)
    assert [line.label for line in chart.lines] == ["mask"]
    path.write_text('{"stage": "proposals", "step": 3, "mask": 1.0}\n')
    assert _steps(tmp_path, "proposals") == 4
    assert charts(tmp_path / "none") == []


# ---------------------------------------------------------------------- what is shown


def test_pictures_of_every_layer_are_drawn(make_run: MakeRun, client: TestClient) -> None:
    make_run()
    layers = client.get("/api/runs/cars/newest").json()["layers"]
    assert [layer["layer"] for layer in layers] == ["parts", "segments", "objects"]  # SMALL ranks segments
    for layer in layers:
        assert [picture["file"] for picture in layer["pictures"]] == ["3.png", "2.png", "1.png", "0.png"]
        answer = client.get("/api/runs/cars" + layer["pictures"][0]["address"])
        assert answer.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("place", ["parts/0/99", "parts/7/0", "parts/-1/0", "none/0/0", "parts/0/-1"])
def test_pictures_that_are_not_there(make_run: MakeRun, client: TestClient, place: str) -> None:
    make_run()
    assert client.get(f"/api/runs/cars/pictures/{place}").status_code == 404


def test_a_photograph_that_is_gone_is_no_error(make_run: MakeRun, client: TestClient, tmp_path: Path) -> None:
    make_run()
    (tmp_path / "photos" / "3.png").unlink()
    answer = client.get("/api/runs/cars/pictures/parts/0/3")
    assert Image.open(io.BytesIO(answer.content)).size == (320, 320)  # where it says so


def test_a_card_says_what_a_run_has(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    card = client.get("/api/runs/cars/card").json()
    assert card["state"] == "stopped"
    assert client.get("/api/runs/cars" + card["cover"]).status_code == 200
    classes = {"car": {"part_classes": 8}, HOSTILE: {"part_classes": 5}}
    write_note(out / "part_classes" / "part_classes.json", {"classes": classes})
    card = client.get("/api/runs/cars/card").json()
    assert (card["classes"], card["parts"]) == (2, 13)


def test_a_run_that_has_only_begun_is_listed(tmp_path: Path, client: TestClient) -> None:
    said(tmp_path / "runs" / "new one", "partdistill: expected a car")
    assert client.get("/api/runs").json()["runs"] == ["new one"]
    seen = client.get("/api/runs/new one/watch").json()
    assert (seen["state"], seen["why"], seen["left"]) == ("failed", "expected a car", None)
    assert client.get("/api/runs/new one/card").json()["cover"] is None
    assert client.get("/api/runs/new one/newest").json() == {"layers": []}


@pytest.mark.parametrize(
    "damage", ["objects/manifest.json", "parts/all.parquet", "config.yaml", "studio/process.json"]
)
def test_damaged_files_are_no_end_of_the_page(
    make_run: MakeRun, client: TestClient, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = make_run()
    said(out, "")
    (out / damage).write_bytes(b"\0damaged")
    for question in ("watch", "newest", "card", "losses"):
        assert client.get(f"/api/runs/cars/{question}").status_code == 200, question
