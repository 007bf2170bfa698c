"""Stage 5 once more, on the parts as people have them: without rejected ones, joined ones as one."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import InputError
from partdistillation.models.devices import choose_device
from partdistillation.runs.digests import TRAINING
from partdistillation.runs.engine import map_rows
from partdistillation.runs.notes import read_note
from partdistillation.runs.part_table import FILE, PartTable, write_part_table
from partdistillation.runs.records import PartRow
from partdistillation.runs.run_folder import RETRAINED
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import distillation, ranking
from partdistillation.training.parallel import processes, rank, wait_for_all

FOLDER = RETRAINED
"""In a run's folder: the parts as the table has them, and the model that learned them."""


def run(inputs: Inputs, recipe: Recipe, table: PartTable) -> Path:
    """Write `out/retrained/parts` and `out/retrained/part_model`; return the model's folder.

    What is left of an object class's part classes is numbered anew, without gaps, in the old order; the model
    has as many part classes an object class as the one with the most. Its folder holds a part table with the
    names, for the new ids.

    Raises:
        InputError: the table joins or rejects nothing, leaves nothing, or is about other part classes; or the
            run's model was grown (`stages.growing`).
        SettingsChanged: it was begun with another table or other settings.
    """
    table.check(recipe.ranking.num_parts)
    if not table.edits:
        raise InputError(
            "expected a part table that joins or rejects part classes, found none of that: there is nothing "
            "to learn anew. For names alone give the table to `partdistill predict`"
        )
    if "grown" in read_note(inputs.out / distillation.FOLDER / TRAINING):
        raise InputError(
            f"{inputs.out} was grown: expected a run with the parts of all of its classes, found those of "
            "new ones alone. Give the table to `partdistill predict`, which joins and leaves out parts too"
        )
    ids, names = table.renumbered(recipe.ranking.num_parts)
    folder = inputs.out / FOLDER
    with processes(choose_device(inputs.device)):
        if rank() == 0:
            relabel(inputs.out / ranking.PARTS, folder / ranking.PARTS, table, ids)
        wait_for_all()
        lesson = replace(
            distillation.lesson(inputs, recipe),
            name=FOLDER,
            parts=folder / ranking.PARTS,
            num_parts=_num_parts(folder / ranking.PARTS),
            model=folder / distillation.FOLDER,
        )
        model = distillation.learn_parts(lesson, inputs)
        if rank() == 0:
            write_part_table(model / FILE, names)
        wait_for_all()
    return model


def relabel(parts_dir: Path, out: Path, table: PartTable, ids: Mapping[str, Mapping[int, int]]) -> Path:
    """Write the parts as the table has them, with new part ids by object class."""
    return map_rows(
        out,
        source=parts_dir,
        read=PartRow,
        row=PartRow,
        make=lambda: partial(_renumbered, table=table, ids=ids),
        settings={"part_table": table.edits},
        label=f"{FOLDER}: parts",
    )


def _renumbered(row: PartRow, table: PartTable, ids: Mapping[str, Mapping[int, int]]) -> PartRow:
    objects = []
    for labelled in table.applied(row).objects:
        new = ids.get(labelled.category)
        parts = (part if new is None else replace(part, part=new[part.part]) for part in labelled.parts)
        objects.append(replace(labelled, parts=tuple(parts)))
    return row.to(PartRow, objects)


def _num_parts(parts_dir: Path) -> int:
    rows = read_rows(parts_dir, PartRow)
    ids = (part.part for row in rows for labelled in row.objects for part in labelled.parts)
    most = max(ids, default=None)
    if most is None:
        raise InputError("expected a part table that leaves some parts to learn, found that it rejects all")
    return most + 1
