"""Run a stage's function over shards, here, on processes or on a Ray cluster, and commit each."""

import hashlib
import signal
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

from partdistillation.config import Driver, Engine, RayCluster
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.runs import listings, profiling
from partdistillation.runs.claims import MAX_DEATHS
from partdistillation.runs.manifest import MANIFEST, Json
from partdistillation.runs.mirror import open_mirror, url_of
from partdistillation.runs.profiling import Costs, span
from partdistillation.runs.progress import progress
from partdistillation.runs.ray_actors import DeadlyTasksError, map_on_actors
from partdistillation.runs.ray_cluster import connected
from partdistillation.runs.records import R, Row
from partdistillation.runs.shards import ImageRef, In, Shard
from partdistillation.runs.shared_store import SharedStageStore
from partdistillation.runs.stage_reader import StageReader
from partdistillation.runs.storage import storage_of
from partdistillation.runs.store import StageStore, encode_shard, open_stage
from partdistillation.runs.workers import (
    TaskFailedError,
    WorkerDiedError,
    map_here,
    map_on_processes,
    one_thread,
)

S = TypeVar("S", bound=Row)


class _Stored(NamedTuple):
    """A shard that an actor has put where it belongs, so that its rows needn't come here."""

    sha256: str
    size: int


_Labelled = Callable[[Iterable[int], int], Generator[tuple[int, tuple[bytes | _Stored, Costs]], None, None]]
"""From positions of shards, and a number of workers, to what is made of them."""


def map_rows(
    out: Path,
    *,
    source: Path,
    read: type[S],
    row: type[R],
    make: Callable[[], Callable[[S], R]],
    settings: Mapping[str, Json],
    upstream: Sequence[Path] = (),
    images: Path | None = None,
    workers: int = 0,
    engine: Driver = "processes",
    label: str,
) -> Path:
    """`run_shards` for a function from a row of the stage `source` to a row about the same image.

    `make` is called once a process: it loads what the function needs. The function is asked about images that
    can be used; a rejected one stays rejected, for the same reason. `source` is upstream by itself. Where the
    function reads photographs, `images` is their folder: of those in a bucket a shard's are fetched together.

    Raises:
        As `run_shards`.
    """
    return run_shards(
        out,
        row=row,
        shards=StageReader(source, read).shards,
        settings=settings,
        upstream=[source, *upstream],
        make_work=partial(_make_mapper, source, read, row, make, images),
        workers=workers,
        engine=engine,
        label=label,
    )


def _make_mapper(
    source: Path, read: type[S], row: type[R], make: Callable[[], Callable[[S], R]], images: Path | None
) -> Callable[[Shard[ImageRef]], Iterable[R]]:
    reader, function = StageReader(source, read), make()

    def work(shard: Shard[ImageRef]) -> Iterator[R]:
        rows = list(reader.read(shard.name))
        usable = (source.file_name for source in rows if source.status == "ok")
        with listings.fetched(() if images is None else map(images.joinpath, usable)):
            yield from map(partial(mapped, row, function), rows)

    return work


def mapped(row: type[R], function: Callable[[S], R], source: S) -> R:
    """What the function makes of a row; a rejected one stays rejected."""
    return source.to(row, ()) if source.status == "rejected" else function(source)


def run_shards(
    out: Path,
    *,
    row: type[R],
    shards: Sequence[Shard[In]],
    settings: Mapping[str, Json],
    upstream: Sequence[Path] = (),
    make_work: Callable[[], Callable[[Shard[In]], Iterable[R]]],
    workers: int = 0,
    engine: Driver = "processes",
    label: str,
    unit: str = "photographs",
) -> Path:
    """Label every shard that isn't committed yet, and return `out`. Run again to resume.

    `make_work` is called once a process and returns the function from a shard to its rows: one an input, in
    order. It must be picklable where `workers` > 1. With 0 or 1 worker all happens in this process; a process
    always computes on one thread, so the files' bytes don't depend on the number of workers. `settings` holds
    what decides the rows, and nothing else; `upstream` the folders and files that the function reads. With
    the engine "shared" the shards are divided among all who call this with the same `out`; each returns when
    all are there. With a Ray cluster, or "ray" for one on this machine, `workers` actors label: whatever is
    read and written must be on a disk that its machines share.

    Raises:
        SettingsChanged: `out` was started with other settings, inputs or upstream contents.
        ConfigError: the Ray cluster can't be used.
        StoreError: `out` is in use or can't be written, an upstream stage isn't finished, or the function
            returned other rows than it should.
        PartDistillationError: a worker process died, or several actors at the same shard, or the function
            raised it; the message names the shard.
            Any other exception of the function propagates with a note that names the shard.
        KeyboardInterrupt: after a clean stop; its message says how to go on.
    """
    driver = connected(engine, workers)
    kind: Engine = "ray" if isinstance(driver, RayCluster) else driver
    with open_stage(out, row=row, shards=shards, settings=settings, upstream=upstream, engine=kind) as store:
        try:
            make = partial(_make_encoder, make_work, row, label, profiling.owner())
            _label(store, shards, _driven_by(driver, shards, make, out), workers, label, unit)
        except WorkerDiedError as death:
            store.died_at(death.task)
            raise _death(death, shards, label) from None
        except DeadlyTasksError as deaths:
            raise _deaths(deaths, shards, label) from None
        except TaskFailedError as failure:
            error = _named(failure, shards, label)
        except KeyboardInterrupt:
            left = len(store.pending())
            raise KeyboardInterrupt(
                f"{label}: stopped with {len(shards) - left} of {len(shards)} shards committed. "
                "Run the same command again to go on."
            ) from None
        else:
            store.finish()
            return out
        raise error


def _label(
    store: StageStore | SharedStageStore,
    shards: Sequence[Shard[In]],
    labelled: _Labelled,
    workers: int,
    label: str,
    unit: str,
) -> None:
    pending = store.pending()
    if not pending:
        return
    total, left = (sum(len(shards[index].inputs) for index in some) for some in (range(len(shards)), pending))
    with progress(label, total, done=total - left, unit=unit) as advance:
        while pending:
            mine = store.tasks(tuple(pending))
            first = next(mine, None)
            if first is None:
                store.rest()
            else:
                with closing(labelled(chain([first], mine), min(workers, len(pending)))) as results:
                    for index, (made, costs) in results:
                        profiling.merge(costs)
                        with span(label), span("write"):
                            _commit(store, index, made)
                        pending.remove(index)
                        advance(len(shards[index].inputs))
            missing = store.pending()
            if elsewhere := {*pending} - {*missing}:
                advance(sum(len(shards[index].inputs) for index in elsewhere))
            pending = missing


def _commit(store: StageStore | SharedStageStore, index: int, made: bytes | _Stored) -> None:
    if isinstance(made, bytes):
        store.commit(index, made)
    else:
        store.record(index, *made)


def _driven_by(
    driver: Driver,
    shards: Sequence[Shard[In]],
    make: Callable[[], Callable[[Shard[In]], tuple[bytes, Costs]]],
    out: Path,
) -> _Labelled:
    if isinstance(driver, RayCluster):
        store = partial(_make_storer, make, out.absolute(), url_of(out))
        return partial(_on_actors, driver, shards, store)
    return partial(_on_processes, shards, make, cache(make))


def _on_actors(
    cluster: RayCluster,
    shards: Sequence[Shard[In]],
    make: Callable[[], Callable[[Shard[In]], tuple[_Stored, Costs]]],
    indexes: Iterable[int],
    workers: int,
) -> Generator[tuple[int, tuple[_Stored, Costs]], None, None]:
    return map_on_actors(make, shards.__getitem__, indexes, workers, cluster)


def _on_processes(
    shards: Sequence[Shard[In]],
    make: Callable[[], Callable[[Shard[In]], tuple[bytes, Costs]]],
    make_here: Callable[[], Callable[[Shard[In]], tuple[bytes, Costs]]],
    indexes: Iterable[int],
    workers: int,
) -> Generator[tuple[int, tuple[bytes, Costs]], None, None]:
    tasks = ((index, shards[index]) for index in indexes)
    return map_here(make_here, tasks) if workers <= 1 else map_on_processes(make, tasks, workers)


def _make_storer(
    make: Callable[[], Callable[[Shard[In]], tuple[bytes, Costs]]], out: Path, url: str | None
) -> Callable[[Shard[In]], tuple[_Stored, Costs]]:
    """An actor's function: it stores the rows itself. `url` is the run's, if it is in a bucket."""
    if url is not None:
        open_mirror(url)
    if not (out / MANIFEST).is_file():
        raise StoreError(
            f"{socket.gethostname()}, of the Ray cluster: expected to see {out / MANIFEST} there too, found "
            "none: choose an --out that all machines see, or a URL and the same home folder on all of them"
        )
    storage, encode = storage_of(out), make()

    def store(shard: Shard[In]) -> tuple[_Stored, Costs]:
        data, costs = encode(shard)
        # Created, as another that only seems dead may be at it; or what is there is damaged.
        if not storage.create(shard.file, data) and storage.read(shard.file) != data:
            storage.write(shard.file, data)
        return _Stored(hashlib.sha256(data).hexdigest(), len(data)), costs

    return store


def _make_encoder(
    make_work: Callable[[], Callable[[Shard[In]], Iterable[R]]], row: type[R], label: str, owner: int | None
) -> Callable[[Shard[In]], tuple[bytes, Costs]]:
    profiling.help_with(owner)
    with span(label), span("prepare"):
        work = make_work()

    def encode(shard: Shard[In]) -> tuple[bytes, Costs]:
        with span(label), one_thread():
            rows = list(work(shard))
            with span("write"):
                data = encode_shard(shard, rows, row)
        return data, profiling.hand_over()

    return encode


def _named(failure: TaskFailedError, shards: Sequence[Shard[In]], label: str) -> BaseException:
    place = f"{label}, shard {shards[failure.task].name}"
    error = failure.__cause__
    assert error is not None
    if isinstance(error, PartDistillationError):  # shown without a traceback, and so without notes
        named = type(error)(f"{place}: {error}")
        named.__cause__ = error
        return named
    error.add_note(f"({place})")
    return error


def _death(death: WorkerDiedError, shards: Sequence[Shard[In]], label: str) -> PartDistillationError:
    code = death.exit_code
    how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return PartDistillationError(
        f"{label}: the worker process died ({how}) at shard {shards[death.task].name}; "
        "SIGKILL is mostly the system running out of memory. The shards committed so far are kept: "
        "run the same command again, with fewer workers if so."
    )


def _deaths(deaths: DeadlyTasksError, shards: Sequence[Shard[In]], label: str) -> PartDistillationError:
    names = ", ".join(shards[index].name for index in deaths.tasks[:5])
    count = "" if len(deaths.tasks) <= 5 else f" and {len(deaths.tasks) - 5} more"
    return PartDistillationError(
        f"{label}: {MAX_DEATHS} workers died one after the other at {names}{count}; all other shards are "
        "committed. Look at these images (memory?), and run the same command again."
    )
