"""Part classes of any number of object classes and features: a class at a time, on any engine.

Features come image by image; clustering wants class by class. So there are two steps of shards:

1. *sort*: the features of some shards become a file sorted by object class, and a row that says where each
   class lies in it;
2. *cluster*: the features of a class are read from where they lie in all of these files, and clustered.

Both are stages like any other, in a folder beside the part classes: what is committed isn't done again.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Shaped

from partdistillation.config import Engine, Inputs
from partdistillation.errors import StoreError
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json, canonical_hash
from partdistillation.runs.records import Row
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.shared_store import remove_shared
from partdistillation.runs.stage_reader import StageReader
from partdistillation.runs.storage import storage_of

SORTED_TOGETHER = 16
"""Shards whose features make one sorted file; so many are in memory at once."""
CLUSTERED_TOGETHER = 2**15
"""Features that make one shard, of classes next to each other: small classes aren't a file each."""

_SCRATCH, _SORTED, _CLUSTERED, _FILES = "by_class", "sorted", "clustered", "features"

S = TypeVar("S", bound=Row)
Pieces = Callable[[], Iterator[Shaped[np.ndarray, "n dim"]]]
"""A class's features, float16, in the order of their images; a call gives all again, a piece at a time."""


class Clusters(NamedTuple):
    """What was found of an object class."""

    centroids: Float[np.ndarray, "part dim"]
    about: Mapping[str, Json]
    """What `part_classes.json` says of the class."""
    remark: str = ""
    """What a user should know of it."""


Cluster = Callable[[int, Pieces], Clusters]
"""Finds the clusters of an object class, from how many features it has and the features. Picklable."""


def cluster_classes(
    folder: Path,
    inputs: Inputs,
    *,
    source: Path,
    read: type[S],
    features: Callable[[S], Iterable[tuple[str, Shaped[np.ndarray, "n dim"]]]],
    cluster: Cluster,
    origin: Mapping[str, Json],
    label: str,
) -> dict[str, Clusters]:
    """The clusters of each object class's features in a finished stage; empty where there are none.

    Run again, it goes on; `remove_scratch` is for when what comes of it is kept.

    Args:
        folder: where part classes are to be; the files go into a folder in it.
        inputs: the engine and its workers.
        source: the stage's folder.
        read: its rows.
        features: those of a row that are to be clustered, float16, by object class. Picklable.
        cluster: what is done with a class.
        origin: what the clusters follow from: settings, and a hash of the stage's rows.
        label: names the task.

    Raises:
        As `runs.engine.run_shards`.
    """
    place = _place(folder, origin)
    run_shards(
        place / _SORTED,
        row=SortedRow,
        shards=[*_batches(StageReader(source, read).shard_names)],
        settings=origin,
        make_work=partial(_make_sorter, source, read, features, place, inputs.engine),
        workers=inputs.workers,
        engine=inputs.driver,
        label=f"{label}, sorting",
        unit="batches",
    )
    counts = _Index.read(place).counts()
    if not counts:
        return {}
    run_shards(
        place / _CLUSTERED,
        row=ClusterRow,
        shards=[*_neighbours(counts)],
        settings=origin,
        upstream=[place / _SORTED],
        make_work=partial(_make_clusterer, place, cluster),
        workers=inputs.workers,
        engine=inputs.driver,
        label=f"{label}, clustering",
        unit="classes",
    )
    return {row.image_id: row.clusters() for row in StageReader(place / _CLUSTERED, ClusterRow)}


def remove_scratch(folder: Path) -> None:
    """Give the disk its space back. Who is at it still finds its stage gone, which is a StoreError."""
    for place in folder.glob(f"{_SCRATCH}-*"):
        remove_shared(place)


def _place(folder: Path, origin: Mapping[str, Json]) -> Path:
    """Of its own for every origin, so that what another one left is no obstacle."""
    return folder / f"{_SCRATCH}-{canonical_hash(origin)[:12]}"


# ---------------------------------------------------------------------- sort


@dataclass(frozen=True)
class Batch:
    """Shards of features that become one sorted file, under the name that the row gets, too."""

    image_id: str
    shards: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """The features of a class in a sorted file: after those of the pieces before."""

    category: str
    count: int
    crc32: int


@dataclass(frozen=True)
class SortedRow(Row):
    """A sorted file; `image_id` is its name. Classes come in the order of their names."""

    dim: int
    pieces: tuple[Piece, ...]


def _batches(names: Iterable[str]) -> Iterator[Shard[Batch]]:
    names = tuple(names)
    for number, first in enumerate(range(0, len(names), SORTED_TOGETHER)):
        name = f"batch-{number:05d}"
        yield Shard(name, (Batch(name, names[first : first + SORTED_TOGETHER]),))


def _make_sorter(
    source: Path,
    read: type[S],
    features: Callable[[S], Iterable[tuple[str, Shaped[np.ndarray, "n dim"]]]],
    place: Path,
    engine: Engine,
) -> Callable[[Shard[Batch]], list[SortedRow]]:
    reader, storage = StageReader(source, read), storage_of(place)
    # Another worker, thought dead, may be at the same batch: the first one's file stays, which is the same.
    keep = storage.write if engine == "processes" else storage.create

    def sort(shard: Shard[Batch]) -> list[SortedRow]:
        (batch,) = shard.inputs
        by_class: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        for name in batch.shards:
            for row in reader.read(name):
                for category, some in features(row):
                    if len(some):
                        by_class[category].append(some)
        pieces, data, dim = [], BytesIO(), 0
        for category in sorted(by_class):  # what is written is freed: all are in memory once
            joined = np.concatenate(by_class.pop(category)).astype("<f2", copy=False)
            data.write(joined.data)
            pieces.append(Piece(category, len(joined), zlib.crc32(joined.data)))
            dim = joined.shape[1]
        keep(_file(batch.image_id), data.getvalue())
        return [SortedRow(batch.image_id, "", 0, 0, "ok", "", dim, tuple(pieces))]

    return sort


def _file(name: str) -> str:
    return f"{_FILES}/{name}.f16"


# ---------------------------------------------------------------------- cluster


@dataclass(frozen=True)
class ClusterRow(Row):
    """The clusters of an object class, whose name `image_id` is."""

    about: str
    remark: str
    dim: int
    centroids: bytes
    """Little-endian float32, one centroid after the other."""

    def clusters(self) -> Clusters:
        centroids = np.frombuffer(self.centroids, "<f4").reshape(-1, self.dim)
        return Clusters(centroids, json.loads(self.about), self.remark)


def _neighbours(counts: Mapping[str, int]) -> Iterator[Shard[ImageRef]]:
    """Classes in the order of their names, `CLUSTERED_TOGETHER` features a shard or a class more."""
    together: list[str] = []
    number = size = 0
    for category in sorted(counts):
        together.append(category)
        size += counts[category]
        if size >= CLUSTERED_TOGETHER:
            yield _classes(number, together)
            number, size, together = number + 1, 0, []
    if together:
        yield _classes(number, together)


def _classes(number: int, names: Iterable[str]) -> Shard[ImageRef]:
    return Shard(f"classes-{number:05d}", tuple(map(ImageRef, names)))


class _Index(NamedTuple):
    """Where all classes lie: pieces in the order of classes, and of files within."""

    place: Path
    files: tuple[str, ...]
    dim: int
    classes: Mapping[str, int]
    """By name, the number that `starts` has."""
    starts: Shaped[np.ndarray, " class"]
    """The first of a class's pieces, and after the last class how many pieces there are."""
    pieces: Shaped[np.ndarray, " piece"]

    @classmethod
    def read(cls, place: Path) -> "_Index":
        files, dims, classes, blocks = [], set[int](), dict[str, int](), []
        for number, row in enumerate(StageReader(place / _SORTED, SortedRow)):
            files.append(row.image_id)
            numbers = [classes.setdefault(piece.category, len(classes)) for piece in row.pieces]
            counts = [piece.count for piece in row.pieces]
            block = np.zeros(len(numbers), [("class", "<i4"), ("file", "<i4"), *_PIECE])
            block["class"], block["file"], block["count"] = numbers, number, counts
            block["first"] = np.cumsum([0, *counts])[:-1]
            block["crc32"] = [piece.crc32 for piece in row.pieces]
            blocks.append(block)
            dims |= {row.dim} if counts else set()
        if len(dims) > 1:
            raise StoreError(f"expected features of one width, found some of {sorted(dims)} numbers")
        pieces = np.concatenate(blocks)
        pieces = pieces[np.argsort(pieces["class"], kind="stable")]
        starts = np.searchsorted(pieces["class"], np.arange(len(classes) + 1))
        return cls(place, tuple(files), max(dims, default=0), classes, starts, pieces)

    def counts(self) -> dict[str, int]:
        """How many features each class has."""
        return {category: int(self._of(category)["count"].sum()) for category in self.classes}

    def load(self, category: str) -> Iterator[Shaped[np.ndarray, "n dim"]]:
        """A class's features, file by file."""
        storage, width = storage_of(self.place), 2 * self.dim
        for piece in self._of(category):
            name, count = _file(self.files[piece["file"]]), int(piece["count"])
            data = storage.read_range(name, int(piece["first"]) * width, count * width)
            if zlib.crc32(data) != piece["crc32"]:
                raise StoreError(
                    f"{self.place / name} is damaged: delete {self.place} and run the same command again"
                )
            yield np.frombuffer(data, "<f2").reshape(count, self.dim)

    def _of(self, category: str) -> Shaped[np.ndarray, " _"]:
        number = self.classes[category]
        return self.pieces[self.starts[number] : self.starts[number + 1]]


_PIECE = [("first", "<i8"), ("count", "<i8"), ("crc32", "<u4")]


def _make_clusterer(place: Path, cluster: Cluster) -> Callable[[Shard[ImageRef]], Iterator[ClusterRow]]:
    index = _Index.read(place)
    counts = index.counts()

    def work(shard: Shard[ImageRef]) -> Iterator[ClusterRow]:
        for category in (item.image_id for item in shard.inputs):
            yield _row(category, cluster(counts[category], partial(index.load, category)))

    return work


def _row(category: str, found: Clusters) -> ClusterRow:
    return ClusterRow(
        image_id=category,
        file_name="",
        width=0,
        height=0,
        status="ok",
        reason="",
        about=json.dumps(found.about, ensure_ascii=False),
        remark=found.remark,
        dim=found.centroids.shape[1],
        centroids=found.centroids.astype("<f4", copy=False).tobytes(),
    )
