"""Learning a run's part model again, on the parts as people have them: a process of its own."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException

from partdistillation.review.web import Empty
from partdistillation.runs.part_table import FILE
from partdistillation.runs.run_folder import PART_MODEL, RETRAINED, STUDIO
from partdistillation.studio.decisions import TABLE, Tables
from partdistillation.studio.processes import Command
from partdistillation.studio.progress import state_of
from partdistillation.studio.workspace import Workspace

_NOTES = Path(STUDIO) / "retraining"
"""In a run's folder: the process's note and log."""
_MODEL = Path(RETRAINED) / PART_MODEL
"""In a run's folder: what has learned."""

State = Literal["never", "going on", "stopping", "finished", "stopped", "failed"]


def routes(workspace: Workspace, tables: Tables) -> APIRouter:
    """The questions about learning again."""
    router = APIRouter(prefix="/api/runs/{name}/names/retraining")

    @router.get("")
    def retraining(name: str) -> dict[str, Any]:
        return _answer(workspace.out(name))

    @router.post("")
    def start(name: str, asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        out = workspace.out(name)
        table, _, _ = tables.of(name).now()
        if not table.edits:
            raise HTTPException(409, "merge or reject a part first: names alone need no training")
        if state_of(out) in ("going on", "stopping"):
            raise HTTPException(409, "this run is going on: learn again when it has ended")
        _command(out).start(["distill", "--out", str(out), "--parts-table", str(out / TABLE)])
        return _answer(out)

    @router.post("/stop")
    def stop(name: str, asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        out = workspace.out(name)
        _command(out).stop()
        return _answer(out)

    return router


def _command(out: Path) -> Command:
    return Command(out / _NOTES)


def _answer(out: Path) -> dict[str, Any]:
    command, state = _command(out), _state(out)
    return {
        "state": state,
        "said": (command.said() or [""])[-1] if state == "going on" else "",
        "why": command.why() if state == "failed" else "",
        "model": str(out / _MODEL),
    }


def _state(out: Path) -> State:
    command = _command(out)
    if command.is_alive():
        return "stopping" if command.is_stopping else "going on"
    begun = command.note.get("begun")
    if not isinstance(begun, float):
        return "never"
    table = out / _MODEL / FILE  # which is written last
    if table.is_file() and table.stat().st_mtime >= begun:
        return "finished"
    return "stopped" if command.is_stopping else "failed"
