"""The stages of a run by name, and what of each is there.

What they are called stands here once more, without the modules that bring PyTorch (a test compares it).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from partdistillation.errors import StoreError
from partdistillation.runs.claims import FOLDER as CLAIMS
from partdistillation.runs.manifest import JOURNAL, Entry
from partdistillation.runs.run_folder import (
    COARSE_SEGMENTS,
    FEATURES,
    OBJECTS,
    PART_CLASSES,
    PART_MODEL,
    PARTS,
    PROPOSAL_MODEL,
    SEGMENTS,
)
from partdistillation.status.run_files import RunFiles

REPORT = Path("report", "index.html")


class Stage(NamedTuple):
    """What a stage of `partdistill run` is called, and what it writes."""

    name: str
    label: str
    folders: tuple[str, ...]
    """With rows; or of a model."""
    unit: Literal["photographs", "steps"]

    @property
    def row_folders(self) -> tuple[str, ...]:
        """Those with a row a photograph."""
        return tuple(name for name in self.folders if name != PART_CLASSES and self.unit == "photographs")


STAGES = (
    Stage("objects", "Find the objects", (OBJECTS,), "photographs"),
    Stage("segments", "Group each object's pixels", (SEGMENTS,), "photographs"),
    Stage("proposals", "Learn to propose parts", (PROPOSAL_MODEL,), "steps"),
    Stage("ranking", "Sort proposals into part classes", (FEATURES, PART_CLASSES, PARTS[0]), "photographs"),
    Stage("distillation", "Learn the parts", (PART_MODEL,), "steps"),
)
_TWICE = STAGES[1]._replace(folders=(COARSE_SEGMENTS, SEGMENTS))
"""Where objects are grouped into fewer segments too."""
PREDICTING = (
    STAGES[0],
    Stage("predictions", "Find the parts", (PARTS[1],), "photographs"),
)
"""Of `partdistill predict`."""


@dataclass(frozen=True)
class Rows:
    """What of a folder with a row a photograph is there."""

    committed: tuple[Entry, ...]
    pending: tuple[Entry, ...]
    missing: tuple[Entry, ...] = ()
    """Committed ones whose files are gone."""

    @property
    def done(self) -> int:
        """Photographs."""
        return sum(shard.rows for shard in self.committed)

    @property
    def total(self) -> int:
        return self.done + sum(shard.rows for shard in (*self.pending, *self.missing))


def stages_of(files: RunFiles) -> tuple[Stage, ...]:
    """Those of a run; or of `predict`, where that has begun to write there."""
    names = files.names("")
    if COARSE_SEGMENTS in names:
        return (STAGES[0], _TWICE, *STAGES[2:])
    return PREDICTING if PARTS[1] in names else STAGES


def rows_of(files: RunFiles, folder: str) -> Rows | None:
    """What is there of a folder; None before it has begun.

    Where several workers write it, its manifest tells at the end only, and nobody keeps a journal: till then
    a shard is committed when its file is there.

    Raises:
        StoreError: its manifest can't be read, or is damaged.
    """
    manifest = files.manifest(folder)
    if manifest is None:
        return None
    names = frozenset(files.names(folder))
    shared = CLAIMS in names or JOURNAL not in names
    committed, pending, missing = list[Entry](), list[Entry](), list[Entry]()
    for shard in manifest.shards:
        if shard.file in names and (shard.sha256 or shared):
            committed.append(shard)
        else:
            (missing if shard.sha256 else pending).append(shard)
    return Rows(tuple(committed), tuple(pending), tuple(missing))


def is_done(files: RunFiles, stage: Stage) -> bool:
    """Whether a stage is finished."""
    if stage.unit == "steps":
        return files.storage.exists(f"{stage.folders[-1]}/config.json")
    try:
        *before, last = (rows_of(files, folder) for folder in stage.row_folders)
    except StoreError:
        return False
    if last is None or last.pending or last.missing:
        return False
    return not any(rows.pending for rows in before if rows is not None)  # coarse segments may come later
