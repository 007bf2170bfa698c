"""Stage 5 once more, on the parts as people have them: without rejected ones, joined ones as one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import InputError
from partdistillation.models.devices import choose_device
from partdistillation.runs.engine import run_shards
from partdistillation.runs.part_table import FILE, PartTable, write_part_table
from partdistillation.runs.records import PartRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import StageReader, read_rows
from partdistillation.stages import distillation, proposals, ranking
from partdistillation.training.parallel import processes, rank, wait_for_all

FOLDER = "retrained"
"""In a run's folder: the parts as the table has them, and the model that learned them."""


def run(inputs: Inputs, recipe: Recipe, table: PartTable) -> Path:
    """Write `out/retrained/parts` and `out/retrained/part_model`; return the model's folder.

    What is left of an object class's part classes is numbered anew, without gaps, in the old order; the model
    has as many part classes an object class as the one with the most. Its folder holds a part table with the
    names, for the new ids.

    Raises:
        InputError: the table joins or rejects nothing, leaves nothing, or is about other part classes.
        SettingsChanged: it was begun with another table or other settings.
    """
    table.check(recipe.ranking.num_parts)
    if not table.edits:
        raise InputError(
            "expected a part table that joins or rejects part classes, found none of that: there is nothing "
            "to learn anew. For names alone give the table to `partdistill predict`"
        )
    ids, names = table.renumbered(recipe.ranking.num_parts)
    folder = inputs.out / FOLDER
    with processes(choose_device(inputs.device)):
        if rank() == 0:
            relabel(inputs.out / ranking.PARTS, folder / ranking.PARTS, table, ids)
        wait_for_all()
        lesson = distillation.Lesson(
            name=FOLDER,
            parts=folder / ranking.PARTS,
            num_parts=_num_parts(folder / ranking.PARTS),
            initial=str(inputs.out / proposals.FOLDER),
            model=folder / distillation.FOLDER,
            config=recipe.distillation,
        )
        model = distillation.learn_parts(lesson, inputs, recipe)
        if rank() == 0:
            write_part_table(model / FILE, names)
        wait_for_all()
    return model


def relabel(parts_dir: Path, out: Path, table: PartTable, ids: Mapping[str, Mapping[int, int]]) -> Path:
    """Write the parts as the table has them, with new part ids by object class."""
    return run_shards(
        out,
        row=PartRow,
        shards=StageReader(parts_dir, PartRow).shards,
        settings={"part_table": table.edits},
        upstream=[parts_dir],
        make_work=partial(_make_relabeller, parts_dir, table, ids),
        label=f"{FOLDER}: parts",
    )


def _make_relabeller(
    parts_dir: Path, table: PartTable, ids: Mapping[str, Mapping[int, int]]
) -> Callable[[Shard[ImageRef]], list[PartRow]]:
    reader = StageReader(parts_dir, PartRow)
    return lambda shard: [_renumbered(table.applied(row), ids) for row in reader.read(shard.name)]


def _renumbered(row: PartRow, ids: Mapping[str, Mapping[int, int]]) -> PartRow:
    objects = []
    for found in row.objects:
        new = ids.get(found.category)
        parts = found.parts if new is None else (replace(one, part=new[one.part]) for one in found.parts)
        objects.append(replace(found, parts=tuple(parts)))
    return replace(row, objects=tuple(objects))


def _num_parts(parts_dir: Path) -> int:
    rows = read_rows(parts_dir, PartRow)
    most = max((part.part for row in rows for found in row.objects for part in found.parts), default=None)
    if most is None:
        raise InputError("expected a part table that leaves some parts to learn, found that it rejects all")
    return most + 1
