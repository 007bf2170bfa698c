"""Which parts a run has, against going through its rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from partdistillation.errors import InputError
from partdistillation.functional.masks import encode
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectParts, Part, PartRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.studio.examples import Examples, ShardRows

MASK = encode(np.ones((4, 4), dtype=bool))
CLASSES = ("car", "tree", "a/../b")


def write(folder: Path, rows: Sequence[PartRow], size: int) -> Path:
    """Rows as a finished stage, so many a shard."""
    pieces = {f"s-{start}": rows[start : start + size] for start in range(0, len(rows), size)}
    return run_shards(
        folder,
        row=PartRow,
        shards=[
            Shard(name, tuple(ImageRef(row.image_id) for row in piece)) for name, piece in pieces.items()
        ],
        settings={},
        make_work=lambda: lambda shard: pieces[shard.name],
        label="parts",
    )


@pytest.fixture
def rows() -> list[PartRow]:
    """Photographs with up to three objects of up to four parts, some rejected."""
    generator = np.random.default_rng(0)

    def instance(object_id: int) -> ObjectParts:
        parts = [
            Part(int(generator.integers(3)), float(generator.random(dtype=np.float32)), 0.5, 16, MASK)
            for _ in range(generator.integers(5))
        ]
        return ObjectParts(object_id, CLASSES[generator.integers(2)], tuple(parts))

    rows = []
    for number in range(23):
        objects = tuple(instance(object_id) for object_id in range(generator.integers(4)))
        rows.append(PartRow(f"i{number}", f"i{number}.png", 4, 4, "ok", "", objects))
    rows[4] = PartRow("i4", "i4.png", 0, 0, "rejected", "damaged", ())
    rows[7] = PartRow("i7", "i7.png", 4, 4, "ok", "", (ObjectParts(0, "a/../b", ()),))
    return rows


def test_parts_are_those_of_the_rows(tmp_path: Path, rows: list[PartRow]) -> None:
    examples = Examples(write(tmp_path / "parts", rows, 5))
    expected = [
        (row.image_id, labelled.object_id, place, labelled.category, part)
        for row in rows
        for labelled in row.objects
        for place, part in enumerate(labelled.parts)
    ]
    assert len(examples) == len(expected) > 30
    assert examples.categories == ["car", "tree"]  # not the one without parts
    for number, (*key, category, part) in enumerate(expected):
        assert examples.key(number) == tuple(key)
        assert examples.number(*examples.key(number)) == number
        assert (examples.category(number), examples.part(number)) == (category, part.part)
    for category in examples.categories:
        for part_id, count in examples.parts(category).items():
            surest = examples.surest(category, [part_id], 0, 99)
            probabilities = [expected[number][4].probability for number in surest]
            assert len(surest) == count == sum(e[3] == category and e[4].part == part_id for e in expected)
            assert probabilities == sorted(probabilities, reverse=True)
            assert examples.surest(category, [part_id], 1, 2) == surest[1:3]


def test_part_classes_that_are_one_are_sorted_together(tmp_path: Path, rows: list[PartRow]) -> None:
    examples = Examples(write(tmp_path / "parts", rows, 7))
    together = examples.surest("car", [0, 2], 0, 99)
    assert sorted(together) == sorted(examples.surest("car", [0], 0, 99) + examples.surest("car", [2], 0, 99))


def test_a_part_that_is_not_there(tmp_path: Path, rows: list[PartRow]) -> None:
    examples = Examples(write(tmp_path / "parts", rows, 5))
    for key in (("i4", 0, 0), ("other", 0, 0), ("i7", 0, 0)):
        with pytest.raises(InputError, match="expected a part of this run"):
            examples.number(*key)


def test_rows_come_from_their_shards(
    tmp_path: Path, rows: list[PartRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partdistillation.studio.examples._TABLES", 2)
    folder = write(tmp_path / "parts", rows, 5)
    examples, cached = Examples(folder), ShardRows(folder, PartRow)
    for image in (0, 22, 4, 7, 22, 11):
        assert cached.row(*examples.shard_of(image)) == rows[image]
    (folder / "s-0.parquet").unlink()
    assert cached.row(*examples.shard_of(11)) == rows[11]  # kept


def test_a_run_without_parts_has_none(tmp_path: Path) -> None:
    row = PartRow("a", "a.png", 4, 4, "ok", "", ())
    examples = Examples(write(tmp_path / "parts", [row], 5))
    assert (len(examples), examples.categories) == (0, [])
