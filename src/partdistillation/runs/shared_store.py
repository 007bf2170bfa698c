"""A stage that several workers write at once, on one machine or many: nobody holds its folder.

Each worker is told the same and finds out the rest: which shards are there, and, by claims, which others are
at. A shard is committed by creating its file, which one alone can do; the manifest, which follows from the
shards, is written by all who see them all there, to the same bytes. So nothing depends on a claim but time.
"""

import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from partdistillation.errors import PartDistillationError, SettingsChanged, StoreError
from partdistillation.runs import manifest as manifests
from partdistillation.runs.atomic import (
    explained,
    remove_folder,
    remove_temporary,
    remove_unlinked,
    replace_file,
)
from partdistillation.runs.claims import FOLDER as CLAIMS
from partdistillation.runs.claims import MAX_DEATHS, SECONDS_BETWEEN_LOOKS, Claims
from partdistillation.runs.manifest import JOURNAL, MANIFEST, Manifest
from partdistillation.runs.mirror import AT_ONCE
from partdistillation.runs.storage import Storage, storage_of
from partdistillation.runs.versions import versions

_TRIES = 10
SECONDS_TO_BE_SEEN = 60.0
"""After which what was put into a storage is taken to be lost, if it isn't seen there."""


class SharedStageStore:
    """The writing side of one of several workers; see `store.StageStore`."""

    def __init__(self, storage: Storage, manifest: Manifest, claims: Claims, place: Path) -> None:
        self._storage, self._manifest, self._claims, self._place = storage, manifest, claims, place
        self._indexes = {entry.file: index for index, entry in enumerate(manifest.shards)}
        self._committed = {index: entry for index, entry in enumerate(manifest.shards) if entry.sha256}
        self._there = set(self._committed)

    def pending(self) -> list[int]:
        """Positions of the shards that nobody has committed yet.

        Raises:
            PartDistillationError: nothing else is left but shards of which workers die.
            StoreError: the stage was removed, as what is made of it is there, say.
        """
        self._look()
        left = [index for index in range(len(self._manifest.shards)) if index not in self._there]
        if left and not self._storage.exists(MANIFEST):
            raise StoreError(
                f"{self._place} was there and is gone: expected the stage that this worker writes with "
                "others. If nobody has removed it on purpose, run the same command again"
            )
        if left and self._claims.deadly().issuperset(map(self._name, left)):
            names = ", ".join(map(self._name, left[:5]))
            raise PartDistillationError(
                f"{self._place}: {MAX_DEATHS} workers died, or were stopped, one after the other at each of "
                f"{len(left)} shards, such as {names}; all others are committed. Look at these images "
                f"(memory?), delete {self._place / CLAIMS} and run the same command again."
            )
        return left

    def tasks(self, pending: Sequence[int]) -> Iterator[int]:
        """Those of the pending shards that this worker gets, each when it is asked for.

        In an order of each worker's own, so that they rarely want the same.
        """
        order = random.Random(self._claims.worker).sample(pending, len(pending))
        for index in order:
            if index in self._there or not self._claims.take(self._name(index)):
                continue
            if self._storage.exists(self._manifest.shards[index].file):  # since the last look
                self._there.add(index)
                self._claims.release(self._name(index))
                continue
            yield index

    def rest(self) -> None:
        """Wait a little for the others."""
        time.sleep(SECONDS_BETWEEN_LOOKS)

    def died_at(self, index: int) -> None:
        """Note that a worker process died at a shard: it counts as one of those that die of it."""
        self._claims.abandon(self._name(index))

    def commit(self, index: int, data: bytes) -> None:
        """Store a shard, unless another worker has, by whom this one was thought dead.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
        if self._storage.create(self._manifest.shards[index].file, data):
            self.record(index, hashlib.sha256(data).hexdigest(), len(data))
        else:
            self._close(index)

    def record(self, index: int, sha256: str, size: int) -> None:
        """Note that a shard, of this hash and of so many bytes, was stored."""
        self._committed[index] = replace(self._manifest.shards[index], sha256=sha256, size=size)
        self._close(index)

    def _close(self, index: int) -> None:
        self._there.add(index)
        self._claims.release(self._name(index))

    def finish(self) -> None:
        """Write the manifest of all shards: the same, whoever does it."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            shards = tuple(threads.map(self._finished, range(len(self._manifest.shards))))
        data = replace(self._manifest, shards=shards).dump()
        replace_file(self._place / MANIFEST, data)  # a mirror remembers what it has put
        _seen(self._storage, MANIFEST, data)
        self._storage.delete(JOURNAL)  # of a process that began it alone
        for name in self._storage.names(CLAIMS):  # of workers that woke after the end
            self._storage.delete(f"{CLAIMS}/{name}")
        remove_unlinked(self._place)
        with explained(self._place / CLAIMS):
            remove_temporary(self._place / CLAIMS)

    def _finished(self, index: int) -> manifests.Entry:
        if index in self._committed:
            return self._committed[index]
        entry = self._manifest.shards[index]
        data = _seen(self._storage, entry.file)
        return replace(entry, sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def _look(self) -> None:
        names = self._storage.names("")
        self._there |= {self._indexes[name] for name in names if name in self._indexes}

    def _name(self, index: int) -> str:
        return self._manifest.shards[index].name


@contextmanager
def open_shared_stage(folder: Path, wanted: Manifest) -> Iterator[SharedStageStore]:
    """Start a stage, or join those who are at it.

    Raises:
        SettingsChanged: it was started with other settings, inputs, upstream contents or versions.
        StoreError: the folder can't be written, or holds shards without a manifest.
    """
    storage = storage_of(folder)
    rows = any(name.endswith(".parquet") for name in storage.names(""))
    if rows and not storage.exists(MANIFEST):  # asked last: others may be beginning the stage
        raise StoreError(
            f"expected an empty folder or a stage's in {folder}, found rows and no manifest. "
            "Choose another --out, or delete the folder."
        )
    storage.create(MANIFEST, wanted.dump())
    _seen(storage, MANIFEST)
    manifest = manifests.load(folder)
    manifests.check_unchanged(folder, manifest, wanted)
    _require_versions(folder, manifest.versions)
    shards = tuple(
        replace(entry, sha256=done.sha256, size=done.size)
        for entry, done in zip(wanted.shards, manifest.shards, strict=True)
    )
    with Claims(storage) as claims:
        yield SharedStageStore(storage, replace(wanted, shards=shards), claims, folder)


def remove_shared(folder: Path) -> None:
    """Remove a folder of stages, of which what was made is there, though others may be at it still.

    They may do the same, or add to it what nobody needs: then they find their stage gone, and do this again.
    """
    for _ in range(_TRIES):
        with suppress(StoreError):  # it gets files while it is emptied
            remove_folder(folder)
        if not folder.exists():
            return
        time.sleep(SECONDS_BETWEEN_LOOKS / _TRIES)


def _seen(storage: Storage, key: str, wanted: bytes | None = None) -> bytes:
    """A file that was put there (as `wanted`), which some stores show to others, or all, only after a while.

    Raises:
        StoreError: it isn't seen.
    """
    end = time.monotonic() + SECONDS_TO_BE_SEEN
    while (data := storage.read(key)) is None or (wanted is not None and data != wanted):
        removed = data is None and key != MANIFEST and not storage.exists(MANIFEST)  # with all the stage
        if removed or time.monotonic() > end:
            raise StoreError(f"{key} was put there and is gone, or another: run the same command again")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return data


def _require_versions(folder: Path, before: Mapping[str, str]) -> None:
    """Refuse to work beside workers with other software: rows would depend on who made them."""
    now = versions()
    others = [
        f"{name}: was {before[name]}, is now {now[name]}"
        for name in now
        if name in before and before[name] != now[name]
    ]
    if others:
        changes = "\n  ".join(others)
        raise SettingsChanged(
            f"{folder} is shared by workers with other versions:\n  {changes}\nInstall the same everywhere, "
            "or go on alone, without --engine shared."
        )
