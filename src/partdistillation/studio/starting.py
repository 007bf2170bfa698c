"""Beginning a run: photographs are chosen or dropped, looked at, and a process starts."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from partdistillation.data.images import load_image
from partdistillation.errors import InputError
from partdistillation.objects import saliency_weights
from partdistillation.pictures.sizes import shrink
from partdistillation.pictures.text import note_picture
from partdistillation.recipes import DEFAULT
from partdistillation.review.web import Empty
from partdistillation.runs.atomic import remove_folder
from partdistillation.runs.notes import read_note
from partdistillation.runs.run_folder import FIRST_LOOK
from partdistillation.runs.stage_log import EXPECTED
from partdistillation.status.stages import STAGES
from partdistillation.studio.drafts import MOST_FILES, Drafts
from partdistillation.studio.photographs import encoded, first_look, picture
from partdistillation.studio.places import Contents, Places
from partdistillation.studio.plans import RECIPES, Draft, Plan, Source, Start, Starting
from partdistillation.studio.preview import problems, summary
from partdistillation.studio.processes import Command
from partdistillation.studio.workspace import Workspace

_THUMBNAIL = 360
_REMARKS = ("None of ", "No segment ")
"""How an estimate says why it stops at a stage."""


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
    def begin(asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        return {"draft": drafts.begin()}

    @router.get("/choices")
    def choices(draft: str) -> dict[str, Any]:
        drafts.out(draft)
        return {
            "folders": bool(places.roots),
            "recipes": [{"name": name, "text": text} for name, text in RECIPES.items()],
            "recipe": DEFAULT,
            "mostFiles": MOST_FILES,
            "saliency": saliency_weights.is_there(),
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
        path = starting.photograph(images, file)
        try:
            return picture(encoded(shrink(load_image(path), _THUMBNAIL)))
        except InputError:
            return picture(encoded(note_picture("can't be read", _THUMBNAIL, _THUMBNAIL)))

    @router.post("/photographs/upload")
    async def upload(draft: str, category: str, name: str, request: Request) -> dict[str, Any]:
        data = await request.body()
        kept_in, kept_as = await run_in_threadpool(drafts.add, draft, category, name, data)
        return {"category": kept_in, "file": kept_as}

    @router.post("/photographs/clear")
    def clear(asked: Draft) -> dict[str, Any]:
        remove_folder(drafts.photographs(asked.draft))
        return {}

    @router.post("/weights")
    def weights(asked: Empty) -> dict[str, Any]:  # noqa: ARG001
        saliency_weights.fetch()
        return {}

    @router.post("/cancel")
    def cancel(asked: Draft) -> dict[str, Any]:
        drafts.cancel(asked.draft)
        return {}

    @router.post("/estimate")
    def estimate(asked: Plan) -> dict[str, Any]:
        out = drafts.out(asked.draft)
        arguments = [*starting.arguments(out, asked), "--out", str(out), "--estimate"]
        drafts.forget_estimate(asked.draft)
        drafts.estimating(asked.draft).start(arguments)
        return {"state": "going on"}

    @router.get("/estimate")
    def estimated(draft: str) -> dict[str, Any]:
        return _estimated(drafts.out(draft), drafts.estimating(draft))

    @router.post("/estimate/cancel")
    def cancel_estimate(asked: Draft) -> dict[str, Any]:
        drafts.forget_estimate(asked.draft)
        return {}

    @router.get("/first-look")
    def look(draft: str) -> Response:
        return first_look(drafts.out(draft))

    @router.post("/start")
    def start(asked: Start) -> dict[str, Any]:
        drafts.out(asked.draft)
        drafts.settle(asked.draft)
        return {"name": starting.start(drafts.out(asked.draft), asked).name}

    return router


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
