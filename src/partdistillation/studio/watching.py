"""Watching a run: how far it is, what it has found, what went wrong; to stop it and to let it go on."""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from partdistillation.config import written
from partdistillation.review.web import Empty
from partdistillation.runs.notes import read_note
from partdistillation.runs.run_folder import FIRST_LOOK, PART_CLASSES
from partdistillation.status.pace import Pace
from partdistillation.status.progress import Progress, left_in_all
from partdistillation.status.rejected import rejected
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import REPORT
from partdistillation.studio import newest, photographs
from partdistillation.studio.losses import charts
from partdistillation.studio.progress import State, commands_of, progress, settings_of, state_of
from partdistillation.studio.workspace import Workspace

_LINES = 12
"""Of the log, where it failed."""


def routes(workspace: Workspace) -> APIRouter:
    """The questions of the page `watch`."""
    router, pace, starting = APIRouter(prefix="/api/runs/{name}"), Pace(), threading.Lock()

    @router.get("/watch")
    def watch(name: str) -> dict[str, Any]:
        return watched(workspace.out(name), pace)

    @router.get("/losses")
    def losses(name: str) -> dict[str, Any]:
        return {"charts": [drawing._asdict() for drawing in charts(workspace.out(name))]}

    @router.get("/newest")
    def pictures(name: str) -> dict[str, Any]:
        out = workspace.out(name)
        layers = [(layer, newest.newest(out, layer)) for layer in newest.layers_of(out)]
        return {
            "layers": [
                {
                    "layer": layer,
                    "label": newest.LAYERS[layer].label,
                    "pictures": [{"address": _address(p), "file": p.file_name} for p in pictures_of],
                }
                for layer, pictures_of in layers
                if pictures_of
            ]
        }

    @router.get("/pictures/{layer}/{shard}/{row}")
    def picture(name: str, layer: str, shard: int, row: int) -> Response:
        return photographs.picture(photographs.encoded(newest.draw(workspace.out(name), layer, shard, row)))

    @router.get("/first-look")
    def first_look(name: str) -> Response:
        return photographs.first_look(workspace.out(name))

    @router.get("/card")
    def card(name: str) -> dict[str, Any]:
        out = workspace.out(name)
        picture, classes, parts = newest.cover(out), *_found(out)
        return {
            "state": state_of(out),
            "cover": picture and _address(picture),
            "classes": classes,
            "parts": parts,
        }

    @router.post("/stop")
    def stop(name: str, asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        out = workspace.out(name)
        if state_of(out) == "going on" and not commands_of(out).is_alive():
            raise HTTPException(409, "this run was started in a terminal: press Ctrl-C there")
        commands_of(out).stop()
        return {"state": state_of(out)}

    @router.post("/resume")
    def resume(name: str, asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        out = workspace.out(name)
        with starting:
            if state_of(out) in ("going on", "stopping"):
                raise HTTPException(409, "this run is going on already")
            commands_of(out).start(arguments_of(out))
        return {"state": state_of(out)}

    return router


def watched(out: Path, pace: Pace) -> dict[str, Any]:
    """All that the page says of a run, but its pictures and curves."""
    state, command = state_of(out), commands_of(out)
    stages = progress(out, going_on=state == "going on", pace=pace)
    causes = rejected(RunFiles(out))
    return {
        "state": state,
        "here": command.is_alive(),
        "now": _now(state, stages),
        "left": left_in_all(stages) if state == "going on" else None,
        "stages": [
            {**asdict(stage), "stage": stage.stage.name, "label": stage.stage.label, "unit": stage.stage.unit}
            for stage in stages
        ],
        "rejected": {
            "count": causes.photographs,
            "reasons": [{"why": why, "count": count} for why, count in causes.reasons],
        },
        "why": command.why() if state == "failed" else "",
        "said": command.said()[-_LINES:] if state == "failed" else [],
        "firstLook": (out / FIRST_LOOK).is_file(),
        "images": written(settings_of(out)[0].images or ""),
        "report": (out / REPORT).is_file(),
    }


def arguments_of(out: Path) -> Sequence[str]:
    """What lets a run go on: the same command again; where it was begun elsewhere, what it remembers."""
    argv = commands_of(out).note.get("argv")
    if isinstance(argv, list) and str(out) in argv and all(isinstance(word, str) for word in argv):
        return argv[3:]  # behind `python -m partdistillation`
    return ["run", "--out", str(out)]


def _now(state: State, stages: Sequence[Progress]) -> str:
    """What is being done that no stage says."""
    if state != "going on":
        return ""
    if all(stage.state == "waiting" for stage in stages):
        return "Trying each stage on a few photographs"
    return "Writing the report" if all(stage.state == "done" for stage in stages) else ""


def _found(out: Path) -> tuple[int, int]:
    """How many object classes a run has, and how many part classes in all; 0 before they are known."""
    classes = read_note(out / PART_CLASSES / "part_classes.json").get("classes")
    if not isinstance(classes, dict):
        return 0, 0
    return len(classes), sum(entry.get("part_classes", 0) for entry in classes.values())


def _address(picture: newest.Picture) -> str:
    """Below the run's `/api/runs/NAME`; a shard that is done again has another one."""
    return f"/pictures/{picture.layer}/{picture.shard}/{picture.row}?v={picture.sha256[:12]}"
