"""What parts are called in a figure: as a part table has it, or a baseline that learned named parts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partdistillation.baselines import FOLDER
from partdistillation.errors import InputError
from partdistillation.runs.part_table import PartTable, read_part_table

PART_NAMES = "part_names.json"
"""Of the supervised baseline: by object class, the names of its part classes in order."""


@dataclass(frozen=True)
class Names:
    """Names of part classes, and what was decided on them."""

    table: PartTable = field(default_factory=PartTable)
    listed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.listed) or any(decided.names for decided in self.table.classes.values())

    def name(self, category: str, part: int) -> str:
        """What a part class is called."""
        listed = self.listed.get(category, ())
        return listed[part] if part < len(listed) else self.table.name(category, part)


def names_for(stage: Path, part_table: Path | None = None) -> Names:
    """The names of a stage's parts: a table's, or what their baseline learned them as.

    Args:
        stage: folder of parts; a baseline's names lie beside it, or in the baseline's folder of the demo.
        part_table: decisions on the parts.

    Raises:
        InputError: a file can't be read.

    """
    table = read_part_table(part_table) if part_table else PartTable()
    lists = (stage.parent / PART_NAMES, stage.parent.parent / FOLDER / stage.name / PART_NAMES)
    return Names(table, next((_read(path) for path in lists if path.is_file()), {}))


def _read(path: Path) -> dict[str, list[str]]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        return {str(category): [str(part) for part in parts] for category, parts in names.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: expected names of parts by object class as JSON, found {error}") from None
