"""Stages that aren't finished."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import encode_shard, open_stage

MakeShards = Callable[..., Path]
ROWS = 4
"""A shard."""


@pytest.fixture
def make_shards() -> MakeShards:
    """Writes a stage of `shards` shards of four photographs, `done` of which are committed, by the engine
    "processes" or "shared"; the first `bad` photographs of each are rejected.
    """

    def make(folder: Path, *, shards: int, done: int, bad: int = 0, engine: str = "processes") -> Path:
        planned = [
            Shard(f"s-{number:05d}", tuple(ImageRef(f"{number}/{row}") for row in range(ROWS)))
            for number in range(shards)
        ]
        with open_stage(folder, row=ObjectRow, shards=planned, settings={}, engine=engine) as store:  # type: ignore[arg-type]
            for index in range(done):
                store.commit(index, encode_shard(planned[index], _rows(planned[index], bad), ObjectRow))
            if done == shards:
                store.finish()
        return folder

    return make


def _rows(shard: Shard[ImageRef], bad: int) -> Sequence[ObjectRow]:
    return [
        ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "rejected", "no objects", ())
        if place < bad
        else ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "ok", "", ())
        for place, item in enumerate(shard.inputs)
    ]
