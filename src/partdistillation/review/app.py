"""The web application of a review: one page, its pictures, and a handful of questions in JSON.

All addresses in the page are relative, so that it may be mounted under any path that ends with a slash.
The reviewer's name comes with every question: the server remembers nobody between two requests, so a restart
goes unnoticed. Which run a page is from isn't told to anybody.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import AfterValidator, Field, StringConstraints

from partdistillation.review.assignment import Assignment
from partdistillation.review.example import Example, example
from partdistillation.review.guard import Access
from partdistillation.review.items import Tiles
from partdistillation.review.outcome import Outcome, outcomes
from partdistillation.review.store import ChangedElsewhereError, Item, ReviewStore, tidy
from partdistillation.review.votes import State, Vote, agreement
from partdistillation.review.web import Body, Session, begun, new_app, page, static_file
from partdistillation.runs.verdicts import MAX_MARKS, Action

_PACKAGE = "partdistillation.review"
_EXAMPLES: dict[str, Example] = {"right.webp": "right", "wrong.webp": "wrong"}
_KEPT = {"cache-control": "private, max-age=604800, immutable"}
"""Headers of a picture: its address says what it shows, so it never changes."""
_MOST_CLASSES = 100
"""In what came of a review; the rest are counted together."""


def _said(name: str) -> str:
    if not tidy(name):
        raise ValueError("expected a name")
    return name


_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
_RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]
_Reviewer = Annotated[str, StringConstraints(max_length=60), AfterValidator(_said)]
_Version = Annotated[int, Field(ge=0, le=2**31)]


class Go(Body):
    reviewer: _Reviewer
    page: _Key | None = None
    go: Literal["here", "next", "previous"] = "here"


class Change(Body):
    """What votes and undoing have in common."""

    reviewer: _Reviewer
    item: _Key
    request: _RequestId
    base: _Version


class Ballot(Change):
    action: Action
    marks: Annotated[list[bool], Field(max_length=MAX_MARKS)]
    duplicate_of: _Key | None
    merged_into: _Key | None
    name: Annotated[str, StringConstraints(max_length=80)]


def make_app(
    reviewed: ReviewStore,
    assignment: Assignment,
    tiles: Tiles,
    *,
    page_token: str,
    access: Access | None,
    home: str = "",
) -> FastAPI:
    """The application, to be put behind a `Guard` with the same token and access.

    `home` is the address of what it is a part of, for a link; none where it stands alone.
    """
    app = new_app()
    review = _Review(reviewed, assignment)

    @app.get("/")
    def index() -> Response:
        return page(_PACKAGE)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name in _EXAMPLES:
            return Response(example(_EXAMPLES[name]), media_type="image/webp", headers=_KEPT)
        return static_file(_PACKAGE, name)

    @app.get("/tiles/{key}")
    def tile(key: str) -> Response:
        return _picture(tiles.file(key))

    @app.get("/tiles/{key}/large")
    def large_tile(key: str) -> Response:
        return _picture(tiles.file(key, large=True))

    @app.post("/api/session")
    def session(asked: Session, request: Request) -> Response:
        about = {"parts": sum(assignment.parts.values()), "seconds": assignment.pace(), "home": home}
        return begun(asked, request, access, {"page": page_token, **about})

    @app.post("/api/agreement")
    def agree() -> dict[str, Any]:
        return {"alpha": agreement(reviewed.answers(assignment.runs))}

    app.post("/api/outcome")(review.outcome)
    app.post("/api/page")(review.page)
    app.post("/api/vote")(review.vote)
    app.post("/api/undo")(review.undo)
    return app


class _Review:
    """Answers in terms of what the client may know: keys for items, never runs or part ids."""

    def __init__(self, reviewed: ReviewStore, assignment: Assignment) -> None:
        self._reviewed, self._assignment = reviewed, assignment

    def page(self, asked: Go) -> dict[str, Any]:
        reviewer = self._reviewed.reviewer(asked.reviewer)
        key = self._destination(reviewer, asked)
        return {
            "page": None if key is None else self._shown(reviewer, key),
            "progress": self._assignment.progress(reviewer)._asdict(),
            "names": self._reviewed.names_by(reviewer),
        }

    def outcome(self) -> dict[str, Any]:
        """What came of it: of the first object classes, and of all together."""
        verdicts = self._reviewed.verdicts(self._assignment.runs)
        classes = outcomes(verdicts, self._assignment.parts)
        return {
            "classes": [
                {"category": category, **outcome._asdict()}
                for category, outcome in islice(classes.items(), _MOST_CLASSES)
            ],
            "of": len(classes),
            "all": sum(classes.values(), Outcome())._asdict(),
            "alpha": agreement(self._reviewed.answers(self._assignment.runs)),
        }

    def _destination(self, reviewer: int, asked: Go) -> str | None:
        seen = self._assignment.seen(reviewer)
        if asked.page is None:
            return seen[-1] if asked.go == "previous" and seen else self._assignment.resume(reviewer)
        if asked.page not in seen:
            raise HTTPException(404, "no such page")
        place = seen.index(asked.page) + {"here": 0, "next": 1, "previous": -1}[asked.go]
        if place < len(seen):
            return seen[max(0, place)]
        return self._assignment.new(reviewer, after=asked.page) or self._assignment.resume(reviewer)

    def _shown(self, reviewer: int, key: str) -> dict[str, Any]:
        items = self._reviewed.page(key)
        category = items[0].category
        self._assignment.renew(reviewer, category)
        sets, seen = self._assignment.pages(reviewer, category), self._assignment.seen(reviewer)
        return {
            "id": key,
            "category": category,
            "position": seen.index(key) + 1,
            "set": sets.index(key) + 1,
            "sets": len(sets),
            "items": [
                {
                    "id": item.key,
                    "available": item.available,
                    "tiles": item.tiles,
                    "state": _told(self._reviewed.state(reviewer, item.id), items),
                }
                for item in items
            ],
        }

    def vote(self, ballot: Ballot) -> dict[str, Any]:
        reviewer = self._reviewed.reviewer(ballot.reviewer)
        item, beside = self._item(ballot.item)
        vote = _checked(ballot, item, beside)
        receipt = self._reviewed.vote(reviewer, item.id, vote, request=ballot.request, base=ballot.base)
        self._assignment.renew(reviewer, item.category)
        replaced = receipt.replaced and _told(receipt.replaced, beside)
        return {"state": _told(receipt.state, beside), "replaced": replaced}

    def undo(self, asked: Change) -> Response:
        reviewer = self._reviewed.reviewer(asked.reviewer)
        item, beside = self._item(asked.item)
        try:
            state = self._reviewed.undo(reviewer, item.id, request=asked.request, base=asked.base)
        except ChangedElsewhereError as changed:
            detail = "nothing was undone: this part was changed in another window"
            return JSONResponse({"detail": detail, "state": _told(changed.state, beside)}, 409)
        return JSONResponse({"state": _told(state, beside)})

    def _item(self, key: str) -> tuple[Item, list[Item]]:
        """An item, and all of its page."""
        item = self._reviewed.item(key)
        if item is None or not self._assignment.has_page(item.page, item.category):
            raise HTTPException(404, "no such part")
        return item, self._reviewed.page(item.page)


def _checked(ballot: Ballot, item: Item, beside: list[Item]) -> Vote:
    """The vote, with part ids in place of keys.

    Only earlier parts of the class can be the same: so no two are each other's duplicates.
    """
    if len(ballot.marks) != len(item.tiles):
        raise HTTPException(422, f"expected {len(item.tiles)} marks, found {len(ballot.marks)}")
    same = (ballot.duplicate_of, ballot.merged_into)
    if ballot.action != "judged" and same != (None, None):
        raise HTTPException(422, "expected no other part where this one is rejected or skipped")
    earlier: dict[str | None, int | None] = {None: None}
    earlier |= {other.key: other.part for other in beside if other.part < item.part}
    if not set(same) <= set(earlier):
        raise HTTPException(422, "expected an earlier part of the same class")
    duplicate_of, merged_into = (earlier[key] for key in same)
    return Vote(ballot.action, tuple(ballot.marks), duplicate_of, merged_into, tidy(ballot.name))


def _told(state: State, beside: Sequence[Item]) -> dict[str, Any]:
    """A state for the client: with the keys of the items beside it in place of part ids."""
    keys: dict[int | None, str | None] = {None: None} | {item.part: item.key for item in beside}
    told: dict[str, Any] = {"version": state.version, "changed": state.changed, "vote": None}
    if (vote := state.vote) is not None:
        told["vote"] = vote._asdict() | {
            "duplicate_of": keys[vote.duplicate_of],
            "merged_into": keys[vote.merged_into],
        }
    return told


def _picture(path: Path | None) -> Response:
    if path is None:
        raise HTTPException(404, "no such picture")
    return FileResponse(path, media_type="image/webp", headers=_KEPT)
