"""Beginning a run: photographs are chosen or dropped, looked at, and a process starts."""

import os
import re
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.concurrency import run_in_threadpool

from partdistillation.data.image_folder import EXTENSIONS, FolderScan
from partdistillation.data.images import load_image
from partdistillation.errors import InputError
from partdistillation.recipes import DEFAULT
from partdistillation.runs.atomic import locked, remove_file, remove_folder
from partdistillation.runs.notes import read_note
from partdistillation.runs.stage_log import EXPECTED
from partdistillation.studio.drafts import MOST_BYTES, MOST_FILES, PHOTOGRAPHS, Drafts
from partdistillation.studio.photographs import webp
from partdistillation.studio.places import Contents, Places
from partdistillation.studio.preview import photographs_of, problems, summary
from partdistillation.studio.processes import Command
from partdistillation.studio.progress import STAGES
from partdistillation.studio.watching import FIRST_LOOK, Nothing
from partdistillation.studio.workspace import FOLDER, Workspace

Source = Literal["salient", "annotations", "masks", "mask2former", "detic", "sam3", "grounded_sam"]
Recipe = Literal["small", "one_gpu", "paper", "released_1k", "released_21k", "demo"]
RECIPES: dict[Recipe, str] = {
    "small": "Photographs, on a laptop; nothing is fetched",
    "demo": "Small drawings, on a laptop",
    "one_gpu": "A published model as encoder; a night on one GPU of 24 GB",
    "paper": "The paper's settings, for many GPUs",
    "released_1k": "The authors' released settings for ImageNet's 1,000 classes",
    "released_21k": "The authors' released settings for 21,000 classes",
}
"""What each is for."""

_LOCK = ".new.lock"
_FOR_LAPTOPS = ("small", "demo")
_MOST_WORKERS = 8
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
_THUMBNAIL = 360
_REMARKS = ("None of ", "No segment ")
"""How an estimate says why it stops at a stage."""

_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
_Path = Annotated[str, StringConstraints(max_length=4000)]


class Draft(BaseModel):
    """Which run that is to begin."""

    model_config = ConfigDict(extra="forbid", strict=True)
    draft: _Key


class Plan(Draft):
    """What a run is to be made with."""

    folder: _Path = ""
    """Of photographs; empty: those that were dropped."""
    source: Source = "salient"
    objects: _Path = ""
    """File or folder of masks."""
    model: Annotated[str, StringConstraints(max_length=400)] = ""
    """That finds the objects; empty: the source's own."""
    recipe: Recipe = DEFAULT  # type: ignore[assignment]  # `recipes` says what it is
    settings: _Path = ""
    """YAML file whose settings go over the recipe's."""


class Start(Plan):
    """And what it is called."""

    name: Annotated[str, StringConstraints(max_length=200)]


def routes(workspace: Workspace, *, local: bool) -> APIRouter:
    """The questions of the first page.

    Args:
        workspace: where runs begin.
        local: whether this machine alone can ask: then folders of it can be chosen.
    """
    places = Places([Path.home(), workspace.folder] if local else [])
    drafts, starting = Drafts(workspace), Starting(workspace, places)
    router = APIRouter(prefix="/api/new")

    @router.post("/begin")
    def begin(asked: Nothing) -> dict[str, Any]:  # noqa: ARG001
        return {"draft": drafts.begin()}

    @router.get("/choices")
    def choices(draft: str) -> dict[str, Any]:
        drafts.out(draft)
        return {
            "folders": bool(places.roots),
            "recipes": [{"name": name, "text": text} for name, text in RECIPES.items()],
            "recipe": DEFAULT,
            "mostFiles": MOST_FILES,
            "mostBytes": MOST_BYTES,
            "dropped": sum(1 for _ in drafts.photographs(draft).glob("*/*")),
        }

    @router.get("/folders")
    def folders(folder: str = "", files: Literal["", "json", "yaml"] = "") -> dict[str, Any]:
        suffixes = {"": (), "json": (".json",), "yaml": (".yaml", ".yml")}[files]
        listing = places.listing(folder, suffixes)
        return {
            "folder": str(listing.folder),
            "above": listing.above and str(listing.above),
            "roots": [str(root) for root in places.roots],
            "contents": _said(listing.contents),
            "folders": [
                {"name": name, "path": str(listing.folder / name), "contents": contents and _said(contents)}
                for name, contents in listing.folders
            ],
            "files": [{"name": name, "path": str(listing.folder / name)} for name in listing.files],
        }

    @router.get("/preview")
    def preview(draft: str, folder: str = "") -> dict[str, Any]:
        images = starting.images(drafts.out(draft), folder)
        return summary(images, starting.photographs(images))

    @router.get("/checks")
    def checks(draft: str, folder: str = "", start: int = 0, source: Source = "salient") -> dict[str, Any]:
        images = starting.images(drafts.out(draft), folder)
        photographs = starting.photographs(images, again=start == 0)
        return problems(photographs, max(0, start), classes_needed=source == "salient")

    @router.get("/thumbnail")
    def thumbnail(file: str, folder: str = "", draft: str = "") -> Response:
        images = starting.images(drafts.out(draft), folder) if draft else places.folder(folder)
        try:
            return webp(load_image(starting.photograph(images, file)), longest=_THUMBNAIL)
        except InputError as error:
            raise HTTPException(404, "it can't be read") from error

    @router.post("/photographs/upload")
    async def upload(draft: str, category: str, name: str, request: Request) -> dict[str, Any]:
        data = await request.body()
        kept_in, kept_as = await run_in_threadpool(drafts.add, draft, category, name, data)
        return {"category": kept_in, "file": kept_as}

    @router.post("/photographs/clear")
    def clear(asked: Draft) -> dict[str, Any]:
        remove_folder(drafts.photographs(asked.draft))
        return {}

    @router.post("/cancel")
    def cancel(asked: Draft) -> dict[str, Any]:
        drafts.cancel(asked.draft)
        return {}

    @router.post("/estimate")
    def estimate(asked: Plan) -> dict[str, Any]:
        out = drafts.out(asked.draft)
        arguments = [*starting.arguments(out, asked), "--out", str(out), "--estimate"]
        drafts.settle(asked.draft)
        for note in (EXPECTED, FIRST_LOOK):
            remove_file(out / note)
        drafts.estimating(asked.draft).start(arguments)
        return {"state": "going on"}

    @router.get("/estimate")
    def estimated(draft: str) -> dict[str, Any]:
        return _estimated(drafts.out(draft), drafts.estimating(draft))

    @router.post("/estimate/cancel")
    def cancel_estimate(asked: Draft) -> dict[str, Any]:
        drafts.settle(asked.draft)
        return {}

    @router.get("/first-look")
    def first_look(draft: str) -> Response:
        path = drafts.out(draft) / FIRST_LOOK
        if not path.is_file():
            raise HTTPException(404, "there is none yet")
        return FileResponse(path, media_type="image/png")

    @router.post("/start")
    def start(asked: Start) -> dict[str, Any]:
        drafts.out(asked.draft)
        drafts.settle(asked.draft)
        return {"name": starting.start(drafts.out(asked.draft), asked).name}

    return router


class Starting:
    """From what was chosen to a process."""

    def __init__(self, workspace: Workspace, places: Places) -> None:
        self._workspace, self._places = workspace, places
        self._lock = threading.Lock()
        self._scanned: tuple[Path, FolderScan] | None = None

    def images(self, out: Path, folder: str) -> Path:
        """The folder of photographs: the chosen one, or that of dropped ones."""
        return self._places.folder(folder) if folder else out / PHOTOGRAPHS

    def photographs(self, images: Path, *, again: bool = True) -> FolderScan:
        """Those of a folder; unless `again`, as they were when it was looked at last."""
        scanned = self._scanned
        if again or scanned is None or scanned[0] != images:
            scanned = self._scanned = images, photographs_of(images, self._holds)
        return scanned[1]

    def photograph(self, images: Path, file: str) -> Path:
        """One of a folder.

        Raises:
            HTTPException: the name leads out of what may be looked at, or is no photograph's.
        """
        name, path = Path(file), images / file
        inside = not name.is_absolute() and ".." not in name.parts and self._holds(path)
        if not inside or name.suffix.lower() not in EXTENSIONS:
            raise HTTPException(404, "no such photograph")
        return path

    def arguments(self, out: Path, plan: Plan) -> list[str]:
        """Those of `partdistill` for a run in a folder, `--out` left out.

        Raises:
            HTTPException: something that was chosen can't be used.
        """
        images = self.images(out, plan.folder)
        self.photographs(images)
        workers = min(os.cpu_count() or 1, _MOST_WORKERS) if plan.recipe in _FOR_LAPTOPS else 1
        arguments = ["run", "--images", str(images), "--recipe", plan.recipe, "--workers", str(workers)]
        if plan.settings:
            arguments += ["--config", str(self._places.file(plan.settings))]
        arguments += ["--objects.source", plan.source]
        match plan.source:
            case "annotations":
                arguments += ["--objects", str(self._places.file(plan.objects))]
            case "masks":
                arguments += ["--objects", str(self._places.folder(plan.objects))]
            case _ if plan.model:
                arguments += ["--objects.model", self._model(plan.model)]
        return arguments

    def start(self, draft: Path, plan: Start) -> Path:
        """Make a draft a run's folder, and start its process; the folder.

        Raises:
            HTTPException: something can't be used, or the name is taken.
        """
        with self._lock, locked(self._workspace.folder, name=_LOCK, wait=True):
            out = self._workspace.new(plan.name)
            if not draft.is_dir():
                raise HTTPException(409, "this run has begun")
            self.arguments(draft, plan)  # or what can't be used is found out after the folder has moved
            remove_folder(draft / FOLDER)
            draft.rename(out)
            try:
                Command(out / FOLDER).start([*self.arguments(out, plan), "--out", str(out)])
            except BaseException:
                out.rename(draft)
                raise
        return out

    def _holds(self, path: Path) -> bool:
        """Whether it is what may be chosen, or a photograph that was dropped; whatever links there are."""
        folder, resolved = self._workspace.folder, path.resolve()
        dropped = resolved.is_relative_to(folder) and resolved.relative_to(folder).parts[1:2] == (
            PHOTOGRAPHS,
        )
        return dropped or self._places.holds(path)

    def _model(self, text: str) -> str:
        if _HUB_NAME.fullmatch(text):
            return text
        return str(self._places.folder(text))


def _said(contents: Contents) -> dict[str, Any]:
    return {"count": contents.photographs, "all": contents.all_counted, "examples": list(contents.examples)}


def _estimated(out: Path, command: Command) -> dict[str, Any]:
    """What is known of how long a run will take."""
    if command.is_alive():
        return {"state": "going on", "said": (command.said() or [""])[-1]}
    expected = read_note(out / EXPECTED)
    if not expected:
        failed = bool(command.note) and not command.is_stopping
        return {"state": "failed" if failed else "none", "why": command.why() if failed else ""}
    labels = {stage.name: stage.label for stage in STAGES}
    seconds = {name: float(value) for name, value in expected.items() if isinstance(value, int | float)}
    return {
        "state": "finished",
        "stages": [{"label": labels.get(name, name), "seconds": count} for name, count in seconds.items()],
        "seconds": sum(seconds.values()) if len(seconds) == len(STAGES) else None,
        "remark": next((line for line in command.said() if line.startswith(_REMARKS)), ""),
        "firstLook": (out / FIRST_LOOK).is_file(),
    }
