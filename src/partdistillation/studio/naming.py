"""Naming, merging and rejecting part classes: what a page asks and says."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import Field, StringConstraints

from partdistillation.errors import InputError
from partdistillation.review.serve import DATABASE
from partdistillation.review.serve import FOLDER as REVIEW
from partdistillation.review.store import export_verdicts, has_content, tidy
from partdistillation.review.web import Body
from partdistillation.runs.majority import from_verdicts
from partdistillation.runs.part_table import ClassParts, PartTable
from partdistillation.runs.verdicts import FILE as VERDICTS
from partdistillation.runs.verdicts import Verdict, read_verdicts
from partdistillation.studio import edits
from partdistillation.studio.decisions import Decisions, StaleError, Tables
from partdistillation.studio.gallery import Galleries
from partdistillation.studio.part_lists import class_state, counts_of
from partdistillation.studio.workspace import Workspace

MAX_NAME = 80
"""Letters of a part's name."""

_Part = Annotated[int, Field(ge=0, lt=10**9)]


class _OfClass(Body):
    version: Annotated[int, Field(ge=0, lt=2**31)]
    """Of the part table that the page shows."""
    category: str
    """The object class that the page shows."""


class Change(_OfClass):
    """What somebody does to a part class."""

    kind: Literal["name", "merge", "split", "reject", "restore"]
    part: _Part
    into: _Part | None = None
    """What it is to be merged with."""
    name: Annotated[str, StringConstraints(max_length=MAX_NAME)] = ""


def routes(workspace: Workspace, galleries: Galleries, tables: Tables) -> APIRouter:
    """The questions about names; all answer with the object class as it is then."""
    router = APIRouter(prefix="/api/runs/{name}/names")

    def changed(name: str, category: str, work: Callable[[Decisions], None]) -> Response:
        gallery, decisions = galleries.of(name), tables.of(name)
        counts_of(gallery, category)
        try:
            work(decisions)
        except StaleError as error:
            state = class_state(gallery, decisions, category)
            return JSONResponse({"detail": str(error), "state": state}, 409)
        return JSONResponse(class_state(gallery, decisions, category))

    @router.post("")
    def change(name: str, question: Change) -> Response:
        counts = counts_of(galleries.of(name), question.category)
        if not {question.part, *([] if question.into is None else [question.into])} <= counts.keys():
            raise HTTPException(404, "this object class has no such part")
        action = question.model_dump(exclude={"version"}, exclude_defaults=True)
        return changed(
            name,
            question.category,
            lambda decisions: decisions.change(
                question.version, action, lambda table: _edited(table, question)
            ),
        )

    @router.post("/undo")
    def undo(name: str, question: _OfClass) -> Response:
        return changed(name, question.category, lambda decisions: decisions.undo(question.version))

    @router.get("/reviewed")
    def reviewed(name: str) -> dict[str, int]:
        table, _, _ = tables.of(name).now()
        taken = _taken(table, _reviewed(workspace, name))
        return {"classes": sum(decided != table.of(key) for key, decided in taken.classes.items())}

    @router.post("/reviewed")
    def take_over(name: str, question: _OfClass) -> Response:
        proposed = _reviewed(workspace, name)
        return changed(
            name,
            question.category,
            lambda decisions: decisions.change(
                question.version, {"kind": "reviewers"}, lambda table: _taken(table, proposed)
            ),
        )

    return router


def _edited(table: PartTable, question: Change) -> PartTable:
    decided, part = table.of(question.category), question.part
    match question.kind:
        case "name":
            decided = edits.named(decided, part, tidy(question.name))
        case "merge":
            if question.into is None:
                raise InputError("expected the part class to merge with")
            decided = edits.merged(decided, part, question.into)
        case "split":
            decided = edits.split(decided, part)
        case "reject":
            decided = edits.rejected(decided, part)
        case "restore":
            decided = edits.restored(decided, part)
    return PartTable({**table.classes, question.category: decided})


def _reviewed(workspace: Workspace, name: str) -> PartTable:
    """What most reviewers of a run agree on; nothing where nobody has reviewed it."""
    out = workspace.out(name)
    database, file = out / REVIEW / DATABASE, out / VERDICTS
    verdicts: list[Verdict] = []
    if has_content(database):
        verdicts = export_verdicts(database)
    elif file.is_file():
        verdicts = read_verdicts(file)
    runs = {verdict.run for verdict in verdicts}
    return from_verdicts(verdicts, out.name if out.name in runs else None) if verdicts else PartTable()


def _taken(table: PartTable, proposed: PartTable) -> PartTable:
    both: dict[str, ClassParts] = dict(table.classes)
    for category, decided in proposed.classes.items():
        both[category] = edits.added(table.of(category), decided)
    return PartTable(both)
