"""A training run's files: checkpoints, the log of losses, and the finished model.

All of it is written by one process, which holds the folder. A checkpoint is one file, there or not there; a
finished model is a folder that appears in one step. What a killed run leaves half-written has a temporary
name, and is removed when the run goes on.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from partdistillation.errors import CheckpointError, SettingsChanged, StoreError
from partdistillation.runs.atomic import (
    append_line,
    locked,
    make_folder,
    remove_temporary,
    replace_file,
    sync_file,
    sync_folder,
)
from partdistillation.runs.digests import (
    TRAINING,
    file_digest,
    recorded,
    recorded_versions,
    require_whole,
    write_digests,
)
from partdistillation.runs.manifest import Json, differences
from partdistillation.runs.mirror import forget, mirrored, refresh_folder, upload
from partdistillation.runs.versions import gone_on
from partdistillation.training.optim import Optimizer

METRICS = "metrics.jsonl"
TRAINED = -1
"""Instead of a number of steps: the model is finished."""

_MODEL, _OPTIMIZER = "model:", "optimizer:"


@dataclass(frozen=True)
class Run:
    """Where a training writes, and what it depends on."""

    out: Path
    """Checkpoints go to `out/checkpoints/name`, losses to `out/metrics.jsonl`.

    Trainings side by side need folders of their own: one that goes on removes the lines that it will repeat.
    """
    name: str
    """Stage, as in the log and the progress bar."""
    model_dir: Path
    """Folder of the finished model. Where it exists and was trained from the same, nothing is done."""
    depends_on: Mapping[str, Json]
    """Settings and upstream hashes: a run with others is refused."""

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints" / self.name


def is_trained(run: Run) -> bool:
    """Whether the finished model is there.

    Raises:
        SettingsChanged: it is, but was trained with other settings or from other inputs.
        CheckpointError: its files are damaged, or some are missing.
        StoreError: something else is in its place.
    """
    refresh_folder(run.model_dir)
    if (run.model_dir / TRAINING).is_file():
        _check_unchanged(run.model_dir, run.depends_on)
        for folder in (run.model_dir, *_folders(run.model_dir)):
            require_whole(folder)
        return True
    if run.model_dir.exists() and (not run.model_dir.is_dir() or any(run.model_dir.iterdir())):
        raise StoreError(
            f"expected {run.model_dir} to be absent or a model trained by this run, found something without "
            f"{TRAINING}. Move it away, or choose another --out."
        )
    return False


def is_finished(run: Run) -> bool:
    """Whether nothing is left to do: the model is there (see `is_trained`), and its checkpoints are gone."""
    return is_trained(run) and not run.checkpoints.exists()


@contextmanager
def opened(run: Run) -> Iterator[int]:
    """Hold the run's files, and tell how many steps are done (by the newest checkpoint), or TRAINED.

    Raises:
        SettingsChanged: the checkpoints or the model are of other settings or inputs.
        StoreError: another process holds the run, or its folder can't be written.
    """
    with ExitStack() as stack:
        with _explained(run):
            stack.enter_context(locked(make_folder(run.checkpoints)))
            refresh_folder(run.checkpoints)
            done = TRAINED if is_trained(run) else _go_on(run)
        yield done


def _go_on(run: Run) -> int:
    remove_temporary(run.checkpoints)
    files = _files(run)
    if (run.checkpoints / TRAINING).exists():
        _check_unchanged(run.checkpoints, run.depends_on)
    elif files:
        raise StoreError(
            f"expected {TRAINING}, which says what {files[-1]} was trained from, found none beside it. "
            f"Delete {run.checkpoints} to train from the start."
        )
    else:
        replace_file(run.checkpoints / TRAINING, _dump(run.depends_on))
        write_digests(run.checkpoints, {})
    if files:
        write_digests(run.checkpoints, _digests(run), made_with=gone_on(run.checkpoints, _versions(run)))
    done = int(files[-1].stem.removeprefix("step-")) if files else 0
    _forget_log(run, done)
    return done


def save_checkpoint(run: Run, done: int, model: nn.Module, optimizer: Optimizer, *, keep: int) -> None:
    """Write the checkpoint after `done` steps, then remove all but the newest `keep`.

    Raises:
        StoreError: the disk is full, or the folder can't be written; earlier checkpoints are as before.
    """
    tensors = {_MODEL + name: value.contiguous() for name, value in model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: value for name, value in optimizer.state_tensors().items()}
    path = _file(run, done)
    temporary = path.with_name(f".{path.name}.tmp")
    with _explained(run):
        try:
            save_file(tensors, temporary)
            sync_file(temporary)
            # First the SHA-256: one of a file that isn't there yet harms nothing.
            digests = _digests(run) | {path.name: file_digest(temporary)}
            write_digests(run.checkpoints, digests, made_with=_versions(run))
            with mirrored(temporary, path):
                os.replace(temporary, path)  # noqa: PTH105 (as atomic.py does)
        except (OSError, SafetensorError):
            temporary.unlink(missing_ok=True)  # gives a full disk its space back
            raise
        sync_folder(run.checkpoints)
        upload(run.out / METRICS)
        for old in _files(run)[:-keep]:
            forget(old)
            old.unlink()


def load_checkpoint(run: Run, done: int, model: nn.Module, optimizer: Optimizer) -> None:
    """Make model and optimizer what they were after `done` steps.

    Raises:
        CheckpointError: the file is damaged, or of another network.
    """
    refresh_folder(run.checkpoints)  # of a process on another machine than the one that has opened the run
    path = _file(run, done)
    try:
        _check_digest(run, path)
        tensors = load_file(path)
        model.load_state_dict(_with_prefix(tensors, _MODEL))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint of this network, found {error}. Delete it, to go on from the one "
            "before or from the start."
        ) from error
    optimizer.load_state_tensors(_with_prefix(tensors, _OPTIMIZER))


def _check_digest(run: Run, path: Path) -> None:
    known = recorded(run.checkpoints) or {}
    if path.name in known and file_digest(path) != known[path.name]:
        raise SafetensorError("one that is damaged: its SHA-256 isn't the one that was written beside it")


def finish(run: Run, save: Callable[[Path], None]) -> None:
    """Write the model beside its checkpoints, and move it to its place in one step.

    Raises:
        StoreError: the disk is full, or a folder can't be written; the checkpoints are as before.
    """
    finished = run.checkpoints / ".finished"
    with _explained(run):
        if finished.exists():
            shutil.rmtree(finished)
        save(finished)
        replace_file(finished / TRAINING, _dump(run.depends_on))
        write_digests(finished, made_with=_versions(run))
        for folder in _folders(finished):
            if recorded(folder) is None:
                write_digests(folder)
            require_whole(folder)
        for path in finished.rglob("*"):
            (sync_folder if path.is_dir() else sync_file)(path)
        upload(run.out / METRICS)
        with mirrored(finished, run.model_dir):
            os.replace(finished, run.model_dir)  # noqa: PTH105 (as atomic.py does)
        sync_folder(run.model_dir.parent)


def remove_checkpoints(run: Run) -> None:
    """Remove what a finished model needs no more. Only for the holder of the run's files."""
    forget(run.checkpoints)
    with _explained(run), suppress(FileNotFoundError):  # another process that found it trained was quicker
        shutil.rmtree(run.checkpoints, ignore_errors=sys.platform == "win32")  # its lock is held: it stays


def log(run: Run, step: int, numbers: Mapping[str, float]) -> None:
    """Append a line to the log of losses."""
    rounded = {name: round(float(value), 6) for name, value in numbers.items()}
    with _explained(run):
        append_line(run.out / METRICS, json.dumps({"stage": run.name, "step": step, **rounded}).encode())


def _forget_log(run: Run, done: int) -> None:
    """Drop the lines of steps that will be done again, and those that a kill tore."""
    path = run.out / METRICS
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if _is_kept(line, run.name, done))
    if len(kept) < path.stat().st_size:
        replace_file(path, kept)


def _is_kept(line: bytes, stage: str, done: int) -> bool:
    try:
        entry = json.loads(line)
        return line.endswith(b"\n") and (entry["stage"] != stage or entry["step"] < done)
    except (ValueError, KeyError, TypeError):
        return False


def _check_unchanged(folder: Path, wanted: Mapping[str, Json]) -> None:
    text = (folder / TRAINING).read_bytes()
    try:
        before = json.loads(text)
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise StoreError(
            f"{folder / TRAINING}: expected what {folder} was trained from, found {text[:40]!r}. "
            f"Delete {folder} to train again."
        )
    if changes := differences(before, json.loads(_dump(wanted))):
        raise SettingsChanged(
            f"{folder} was trained with other settings or inputs:\n  "
            + "\n  ".join(changes)
            + f"\nGo back to the old ones, choose another --out, or delete {folder} to train again."
        )


@contextmanager
def _explained(run: Run) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"can't write to {run.out}: {error}. What is trained so far is kept in {run.checkpoints}: make "
            "room or set the permissions, then run the same command again."
        ) from error


def _file(run: Run, done: int) -> Path:
    return run.checkpoints / f"step-{done:08d}.safetensors"


def _files(run: Run) -> list[Path]:
    return sorted(run.checkpoints.glob("step-*.safetensors"))


def _folders(model_dir: Path) -> list[Path]:
    """The models inside a model's folder."""
    return sorted(path.parent for path in model_dir.glob("*/*.safetensors"))


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of the checkpoints that are there, by file name, as far as it is known."""
    names = {path.name for path in _files(run)}
    known = recorded(run.checkpoints) or {}
    return {name: digest for name, digest in known.items() if name in names}


def _versions(run: Run) -> dict[str, str]:
    return recorded_versions(run.checkpoints)


def _with_prefix(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _dump(values: Mapping[str, Json]) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
