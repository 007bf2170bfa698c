"""Looking at a run's parts: classes, examples, single parts and photographs, as a page asks for them."""

from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response

from partdistillation.runs.part_table import PartTable
from partdistillation.studio import naming, retraining, spots
from partdistillation.studio.decisions import Tables
from partdistillation.studio.gallery import Galleries, Gallery, Order
from partdistillation.studio.layers import Layers
from partdistillation.studio.part_lists import class_list, class_state, counts_of, group
from partdistillation.studio.photographs import encoded, unchanging
from partdistillation.studio.workspace import Workspace

_PICTURES = 1500
"""Tiles that are kept in memory, each about 20 KB."""
_SIMILAR = 48

_Offset = Annotated[int, Query(ge=0, le=10**9)]
_Count = Annotated[int, Query(ge=1, le=200)]


def routes(workspace: Workspace) -> APIRouter:
    """The questions of the page Look."""
    galleries, tables = Galleries(workspace), Tables(workspace)
    router = APIRouter()
    router.include_router(naming.routes(workspace, galleries, tables))
    router.include_router(retraining.routes(workspace, tables))
    look = APIRouter(prefix="/api/runs/{name}/look")

    @look.get("")
    def classes(name: str, search: str = "", offset: _Offset = 0, count: _Count = 60) -> dict[str, Any]:
        return class_list(galleries.of(name), tables.of(name), search=search, offset=offset, count=count)

    @look.get("/class")
    def category(name: str, category: str) -> dict[str, Any]:
        return class_state(galleries.of(name), tables.of(name), category)

    @look.get("/examples")
    def examples(
        name: str,
        category: str,
        part: int,
        offset: _Offset = 0,
        count: _Count = 60,
        order: Order | None = None,
    ) -> dict[str, Any]:
        gallery = galleries.of(name)
        counts, table = counts_of(gallery, category), tables.of(name).now()[0]
        parts = group(table.of(category), list(counts)).get(part, [part] if part in counts else [])
        if not parts:
            raise HTTPException(404, "this object class has no such part")
        page = gallery.page(category, parts, offset=offset, count=count, order=order)
        return {
            "of": gallery.examples.version,
            "total": sum(counts[kin] for kin in parts),
            "order": page.order,
            "preparing": gallery.preparing,
            "tiles": [_tile(gallery, table, number) for number in page.numbers],
        }

    @look.get("/similar")
    def similar(name: str, number: int, everywhere: bool = False) -> dict[str, Any]:
        gallery = _with_part(galleries, name, number)
        neighbours = gallery.similar(number, same_class=not everywhere, count=_SIMILAR)
        table = tables.of(name).now()[0]
        return {
            "of": gallery.examples.version,
            "tiles": [
                {**_tile(gallery, table, neighbour), "similarity": similarity}
                for neighbour, similarity in neighbours
            ],
        }

    @look.get("/part")
    def part(name: str, number: int) -> dict[str, Any]:
        gallery = _with_part(galleries, name, number)
        return {"of": gallery.examples.version, **_tile(gallery, tables.of(name).now()[0], number)}

    @look.get("/photograph")
    def layers(name: str, image: int) -> dict[str, Any]:
        gallery = _with_image(galleries, name, image)
        return stages(gallery).of(image, tables.of(name).now()[0])

    @look.get("/pictures/{of}/{kind}/{number}")
    def picture(name: str, of: str, kind: str, number: int, color: _Offset = 0) -> Response:
        gallery = galleries.of(name)
        if of != gallery.examples.version:
            raise HTTPException(404, "the run's parts are others now: load the page again")
        match kind:
            case "photograph":
                return unchanging(encoded(spots.photograph(_with_image(galleries, name, number), number)))
            case "whole":
                return unchanging(encoded(spots.whole(_with_part(galleries, name, number), number, color)))
            case "tile":
                return unchanging(drawn(_with_part(galleries, name, number), number, color))
        raise HTTPException(404, "no such picture")

    @lru_cache(_PICTURES)
    def drawn(gallery: Gallery, number: int, color: int) -> bytes:
        return encoded(spots.tile(gallery, number, color))

    @lru_cache(4)
    def stages(gallery: Gallery) -> Layers:
        return Layers(gallery)

    router.include_router(look)
    return router


def _with_part(galleries: Galleries, name: str, number: int) -> Gallery:
    gallery = galleries.of(name)
    if not 0 <= number < len(gallery.examples):
        raise HTTPException(404, "this run has no such part")
    return gallery


def _with_image(galleries: Galleries, name: str, image: int) -> Gallery:
    gallery = galleries.of(name)
    if not 0 <= image < len(gallery.examples.image_ids):
        raise HTTPException(404, "this run has no such photograph")
    return gallery


def _tile(gallery: Gallery, table: PartTable, number: int) -> dict[str, Any]:
    """An example, with what its part class counts as; `part` is null where that is rejected."""
    category, part = gallery.examples.category(number), gallery.examples.part(number)
    end = table.of(category).becomes(part)
    return {
        "number": number,
        "image": gallery.examples.image(number),
        "category": category,
        "color": part if end is None else end,
        "part": end,
        "name": None if end is None else table.of(category).names.get(end),
    }
