"""A run's parts for other tools, to be downloaded: `partdistill export` as a process of its own."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from partdistillation.config import Format
from partdistillation.export.zips import replacing_zip
from partdistillation.review.web import Empty
from partdistillation.runs.atomic import make_folder, remove_file, remove_folder
from partdistillation.runs.run_folder import PARTS, STUDIO, stage_in
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.studio.decisions import TABLE
from partdistillation.studio.processes import Command
from partdistillation.studio.workspace import Workspace

_EXPORTS = Path(STUDIO) / "exports"
"""In a run's folder: for each format the export, its zip, and the note and log of its process."""
_LAST_WORDS = "Wrote "

State = Literal["never", "going on", "finished", "failed"]


def routes(workspace: Workspace) -> APIRouter:
    """The questions about downloads."""
    router = APIRouter(prefix="/api/runs/{name}/export/{format}")

    @router.get("")
    def state(name: str, format: Format) -> dict[str, Any]:  # noqa: A002 (the address's word)
        return _Export(workspace.out(name), format).answer()

    @router.post("")
    def start(name: str, format: Format, asked: Empty) -> dict[str, Any]:  # noqa: A002, ARG001
        export = _Export(workspace.out(name), format)
        export.start()
        return export.answer()

    @router.get("/file")
    def file(name: str, format: Format) -> Response:  # noqa: A002
        export = _Export(workspace.out(name), format)
        if export.state() != "finished":
            raise HTTPException(404, "this isn't written yet")
        path = export.file()
        return FileResponse(path, filename=f"{name} {format}{path.suffix}")

    return router


class _Export:
    """One format of a run as it is now: with these parts, and the part table as it stands."""

    def __init__(self, out: Path, name: Format) -> None:
        self._out, self._format = out, name
        self._command = Command(out / _EXPORTS / f"{name} process", _LAST_WORDS)
        self._table = out / TABLE
        table = self._table.read_bytes() if self._table.is_file() else b""
        contents = stage_hash(stage_in(out, PARTS)).encode() + b"\n" + table
        self._folder = out / _EXPORTS / f"{name}-{hashlib.sha256(contents).hexdigest()[:16]}"

    def state(self) -> State:
        if self._folder.is_dir():
            return "finished"
        argv = self._command.note.get("argv")
        if not isinstance(argv, list) or str(self._folder) not in argv:
            return "never"  # the last was of other parts, or with another table
        return "going on" if self._command.is_alive() else "failed"

    def answer(self) -> dict[str, Any]:
        state = self.state()
        return {"state": state, "why": self._command.why() if state == "failed" else ""}

    def start(self) -> None:
        """Begin to write it, unless it is there or being written; what was written of other parts goes."""
        if self.state() in ("finished", "going on"):
            return
        folder = make_folder(self._out / _EXPORTS)
        for old in (*folder.glob(f"{self._format}-*"), *folder.glob(f".{self._format}-*")):  # begun ones too
            remove_folder(old) if old.is_dir() else remove_file(old)
        arguments = ["export", str(self._out), "--to", self._format, "--out", str(self._folder)]
        if self._table.is_file():
            arguments += ["--parts-table", str(self._table)]
        self._command.start(arguments)

    def file(self) -> Path:
        """What is downloaded: the file, where it is one, or else all of them in a zip."""
        files = [file for file in sorted(self._folder.rglob("*")) if file.is_file()]
        if len(files) == 1:
            return files[0]
        path = self._folder.with_suffix(".zip")
        if not path.is_file():
            with replacing_zip(path) as archive:
                for file in files:
                    archive.write(file, file.relative_to(self._folder))
        return path
