"""The page `try`: new photographs, what the run's model sees on them, corrected by clicks, to take away.

Networks run, and photographs are decoded, in a process apart (`worker.py`); the server never loads either.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from partdistillation.errors import InputError, PartDistillationError
from partdistillation.review.web import Body, Empty
from partdistillation.runs.part_table import FILE as PART_TABLE
from partdistillation.runs.part_table import PartTable, read_part_table
from partdistillation.runs.run_folder import PART_MODEL, RETRAINED, STUDIO
from partdistillation.studio.decisions import TABLE
from partdistillation.studio.downloads import suffix_of
from partdistillation.studio.pieces import Click
from partdistillation.studio.questions import (
    LEAST_SCORE,
    LEAST_SHARE,
    Correct,
    Kind,
    Know,
    Look,
    Pack,
    Question,
)
from partdistillation.studio.uploaded import (
    MAX_UPLOAD,
    MOST,
    OpenObject,
    OpenPhotograph,
    Uploaded,
    decided_names,
    labelled,
    new_upload,
    opened,
    told,
    with_object,
    without_object,
)
from partdistillation.studio.worker import Busy, Ended, Worker
from partdistillation.studio.workspace import Workspace

MODELS = {"part_model": Path(PART_MODEL), "retrained": Path(RETRAINED) / PART_MODEL}
"""The part models that a run may have, in its folder."""
_MISSING = {
    "part_model": "there is no part model yet: the last stage of the run makes it",
    "retrained": "there is no retrained model yet: retrain it with the table",
}
UPLOADS = ".studio-uploads"
"""In the studio's folder: what is a file only while it is looked at."""
_MOST_CLICKS = 64

A = TypeVar("A")
_Model = Literal["part_model", "retrained"]
_Place = Annotated[int, Field(ge=0, le=1 << 20)]


class _Of(Body):
    model: _Model = "part_model"


class _Click(Body):
    x: _Place
    y: _Place
    inside: bool


class _Object(Body):
    object: Annotated[int, Field(ge=0)]


class _Corrected(Body):
    object: Annotated[int, Field(ge=0)] | None = None
    """None: a new one."""
    category: Annotated[str, StringConstraints(max_length=500)] | None = None
    """None: the class whose parts fit best."""
    clicks: Annotated[list[_Click], Field(max_length=_MOST_CLICKS)]


class _Asker:
    """Questions to the worker; what it raises becomes an answer of the server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: Worker | None = None

    @property
    def worker(self) -> Worker:
        """It begins its process at the first question."""
        if self._worker is None:
            self._worker = Worker(self._folder)
        return self._worker

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def ask(self, question: Question[A]) -> A:
        """The worker's answer.

        Raises:
            HTTPException: 503 where it is busy or has ended, 422 where the photograph can't be used, 409
                where the model can't.
        """
        try:
            return self.worker.ask(question)
        except (Busy, Ended) as error:
            raise HTTPException(503, str(error)) from error
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        except PartDistillationError as error:
            raise HTTPException(409, str(error)) from error


def routes(workspace: Workspace) -> APIRouter:
    """What answers below `/api/runs/NAME/try`; its worker ends with the application."""
    inside = Path(STUDIO) if workspace.is_run else Path()
    asker, uploaded = _Asker(workspace.folder / inside / UPLOADS), Uploaded()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        asker.close()

    api = APIRouter(prefix="/api/runs/{name}/try", lifespan=lifespan)

    def model_of(name: str, model: str) -> Path:
        folder = workspace.out(name) / MODELS[model]
        if not (folder / "config.json").is_file():
            raise HTTPException(409, _MISSING[model])
        return folder

    def photograph_of(name: str, photograph: str) -> OpenPhotograph:
        workspace.out(name)
        there = uploaded.get(name, photograph)
        if there is None:
            raise HTTPException(404, "this photograph is forgotten: send it again")
        return there

    def table_of(name: str, model: str) -> PartTable | None:
        """What people decided on the run's part classes; of another model's it says nothing."""
        out = workspace.out(name)
        other = model != "part_model" or (out / MODELS[model] / PART_TABLE).is_file()
        return None if other or not (out / TABLE).is_file() else read_part_table(out / TABLE)

    def shown(name: str, photograph: OpenPhotograph) -> dict[str, Any]:
        return told(photograph, table_of(name, photograph.model))

    @api.get("")
    def models(name: str) -> dict[str, Any]:
        out = workspace.out(name)
        there = [model for model, folder in MODELS.items() if (out / folder / "config.json").is_file()]
        return {
            "models": there,
            "most": MOST,
            "mostBytes": MAX_UPLOAD,
            "least": {"score": LEAST_SCORE, "share": LEAST_SHARE},
        }

    @api.post("/warm")
    def warm(name: str, asked: _Of) -> dict[str, Any]:
        known = asker.ask(Know(model_of(name, asked.model)))
        return {"classes": list(known.catalog), "finds": known.finds}

    @api.post("/upload")
    async def upload(name: str, request: Request) -> dict[str, Any]:
        file_name = request.query_params.get("name", "")
        model = request.query_params.get("model", "part_model")
        if model not in MODELS:
            raise HTTPException(404, "no such model")
        data = await request.body()
        return await run_in_threadpool(receive, name, model, file_name, data)

    def receive(name: str, model: str, file_name: str, data: bytes) -> dict[str, Any]:
        try:
            file = new_upload(file_name, data)
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        folder = model_of(name, model)
        catalog = asker.ask(Know(folder)).catalog
        photograph = opened(name, file, model, catalog, asker.ask(Look(folder, file)))
        uploaded.add(photograph)
        return shown(name, photograph)

    @api.get("/photographs")
    def photographs(name: str, ids: str) -> dict[str, Any]:
        workspace.out(name)
        there = (uploaded.get(name, photograph) for photograph in ids.split(".")[:MOST])
        return {"photographs": [shown(name, entry) for entry in there if entry is not None]}

    @api.get("/photographs/{photograph}/picture")
    def picture(name: str, photograph: str) -> Response:
        there = photograph_of(name, photograph)
        return Response(there.seen.picture, media_type="image/webp")

    @api.post("/photographs/{photograph}/look")
    def look(name: str, photograph: str, asked: _Of) -> dict[str, Any]:
        there, folder = photograph_of(name, photograph), model_of(name, asked.model)
        catalog = asker.ask(Know(folder)).catalog
        seen = asker.ask(Look(folder, there.upload))
        again = opened(name, there.upload, asked.model, catalog, seen)
        return shown(name, or_forgotten(uploaded.change(photograph, lambda _: again)))

    @api.post("/photographs/{photograph}/correct")
    def correct(name: str, photograph: str, asked: _Corrected) -> dict[str, Any]:
        there = photograph_of(name, photograph)
        folder = model_of(name, there.model)
        clicks = tuple(Click(click.x, click.y, click.inside) for click in asked.clicks)
        if any(click.x >= there.seen.width or click.y >= there.seen.height for click in clicks):
            raise HTTPException(422, "a click lies outside of the photograph")
        if asked.category is not None and asked.category not in there.catalog:
            raise HTTPException(422, "the model doesn't know this class")
        before = None if asked.object is None else there.objects.get(asked.object)
        if asked.object is not None and before is None:
            raise HTTPException(404, "this object was removed")
        original = None if before is None else before.original
        mask = None if original is None else original.mask
        question = Correct(folder, there.upload, mask, asked.category, clicks, workspace.clicks_model)
        seen = asker.ask(question)
        if original is not None and not clicks:  # its mask is as it was found
            seen = replace(seen, score=original.score)
        changed = OpenObject(seen, original, clicks)
        done = uploaded.change(photograph, lambda now: with_object(now, asked.object, changed))
        return shown(name, or_forgotten(done))

    @api.post("/photographs/{photograph}/remove")
    def remove(name: str, photograph: str, asked: _Object) -> dict[str, Any]:
        photograph_of(name, photograph)
        done = uploaded.change(photograph, lambda now: without_object(now, asked.object))
        return shown(name, or_forgotten(done))

    @api.post("/photographs/{photograph}/forget")
    def forget(name: str, photograph: str, _: Empty) -> dict[str, Any]:
        workspace.out(name)
        uploaded.forget(name, photograph)
        return {}

    @api.get("/download/{kind}")
    def download(
        name: str, kind: Kind, photographs: str, score: float = LEAST_SCORE, share: float = LEAST_SHARE
    ) -> Response:
        chosen = [photograph_of(name, photograph) for photograph in photographs.split(".")[:MOST]]
        if len({entry.model for entry in chosen}) > 1:
            raise HTTPException(409, "the photographs were looked at by two models: choose one for all")
        table = table_of(name, chosen[-1].model)
        catalog = decided_names(chosen[-1].catalog, table)
        data = asker.ask(Pack(kind, labelled(chosen, score, share, table), catalog))
        first = chosen[0].upload.name.rpartition(".")[0] if len(chosen) == 1 else "photographs"
        return _as_file(data, f"{first or 'photograph'}-{kind}{suffix_of(kind, len(chosen))}")

    return api


def or_forgotten(photograph: OpenPhotograph | None) -> OpenPhotograph:
    if photograph is None:
        raise HTTPException(404, "this photograph was forgotten meanwhile: send it again")
    return photograph


def _as_file(data: bytes, name: str) -> Response:
    """A file to keep; its name as RFC 6266 has it, of any script."""
    disposition = f"attachment; filename*=utf-8''{quote(name)}"
    return Response(data, media_type="application/octet-stream", headers={"content-disposition": disposition})
