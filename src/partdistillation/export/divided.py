"""An export whose images are shared out: each worker writes what belongs to a shard's, and one joins it.

    .OUT.partial/manifest.json, *.parquet   a stage: of every image, what goes into the files of all images
    .OUT.partial/files-HASH/                the files, which become OUT when all of them are there

So OUT is there whole or not at all, and holds nothing else. What a killed run has done is not done again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from partdistillation.config import Driver, Inputs, RayCluster
from partdistillation.errors import ConfigError, PartDistillationError, StoreError
from partdistillation.export import huggingface
from partdistillation.export.formats import write_files
from partdistillation.export.photographs import Photographs
from partdistillation.export.pieces import Entries, Writer
from partdistillation.export.rows import StageLabels
from partdistillation.runs.atomic import (
    hidden_beside,
    locked,
    make_folder,
    move_folder,
    remove_folder,
    remove_temporary,
    require_new,
)
from partdistillation.runs.claims import by_one
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json, canonical_hash, load
from partdistillation.runs.mirror import is_mirrored, open_mirror, url_of
from partdistillation.runs.ray_cluster import connected
from partdistillation.runs.records import ObjectRow, Row
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.shared_store import remove_shared
from partdistillation.runs.sharing import require_unshared
from partdistillation.runs.stage_reader import StageReader, contents_hash

BY_OTHERS = "joined by another command"
"""What there is to say of an export that another one has joined."""
WHOLE_BEFORE = "it was whole before, and stays as it was"
"""What there is to say of an export that was killed after it had got its name."""


@dataclass(frozen=True)
class ExportRow(Row):
    """What of an image goes into the files of all images."""

    entries: tuple[bytes, ...]


Work = Callable[[Shard[ImageRef]], Iterable[ExportRow]]


@dataclass(frozen=True)
class Division:
    """What is to be shared out."""

    shards: Sequence[Shard[ImageRef]]
    make_work: Callable[[Path], Work]
    """From the folder of the files to what writes a shard's there. Picklable."""
    join: Callable[[Path, Entries], str]
    """Writes the files of all images into that folder; returns a line on what there is."""
    settings: Mapping[str, Json]
    """What decides the bytes, and nothing else."""
    upstream: Sequence[Path]
    unit: str
    images: int = 0
    """How many have entries."""


def write(out: Path, division: Division, workers: int = 1, engine: Driver = "processes") -> str:
    """Write an export, or go on with it; return a line on it.

    Raises:
        StoreError: `out` isn't new, or can't be written.
        SettingsChanged: another export into the same folder was begun.
        ConfigError: several commands can't share `out`, or the Ray cluster can't be used.
        PartDistillationError: as `runs.engine.run_shards`.
    """
    if engine == "shared" and is_mirrored(out):
        raise ConfigError(
            "--engine shared: expected a folder for --out, which gets its name when it is whole, found a "
            "URL: export with --workers alone, or into a folder that all machines see"
        )
    driver = connected(engine, workers)
    place = _Place.of(out.absolute(), division)
    if not place.is_finished:
        _require_new(place.out, driver)
        try:
            written = _write(place, division, workers, driver)
        except PartDistillationError as error:
            if not (driver == "shared" and isinstance(error, StoreError) and place.is_taken_over):
                place.clear_if_nothing_is_done(driver)
                raise
            written = BY_OTHERS
    else:  # by a command that was killed before it had removed the rest
        written = WHOLE_BEFORE
    place.clear()
    return written


def _require_new(out: Path, driver: Driver) -> None:
    try:
        require_new(out)
    except StoreError as error:
        if driver != "shared":
            raise
        raise StoreError(
            f"{error}; if it is this export, others have finished it, and all is done"
        ) from error


def _write(place: "_Place", division: Division, workers: int, driver: Driver) -> str:
    place.begin()
    url = url_of(division.upstream[0]) if isinstance(driver, RayCluster) else None
    run_shards(
        place.partial,
        row=ExportRow,
        shards=division.shards,
        settings=division.settings,
        upstream=division.upstream,
        make_work=partial(_make_work, division.make_work, place, url),
        workers=workers,
        engine=driver,
        label="export",
        unit=division.unit,
    )
    with _alone(place, driver):
        place.require_begun()
        entries = _Entries(StageReader(place.partial, ExportRow), division.images)
        written = division.join(place.files, entries)
        remove_temporary(place.files, below=True)  # of another machine that was killed, or stands still
        move_folder(place.files, place.out)
    return written


def _alone(place: "_Place", driver: Driver) -> AbstractContextManager[None]:
    """One joins, the others wait; of commands that don't share, others are refused."""
    if driver != "shared":
        return locked(place.partial)
    joint = Inputs(out=place.partial / "joining", engine="shared")
    return by_one(joint, "export", done=lambda: place.is_taken_over)


def _make_work(make: Callable[[Path], Work], place: "_Place", url: str | None) -> Work:
    """`url` is the run's, where it is in a bucket and this may be another machine."""
    if url is not None:
        open_mirror(url)
    work = make(place.files)

    def checked(shard: Shard[ImageRef]) -> Iterable[ExportRow]:
        place.require_begun()
        return work(shard)

    return checked


@dataclass(frozen=True)
class _Place:
    """Where an export is written, and where until then."""

    out: Path
    partial: Path
    files: Path
    """Of its own for every export, so that what another one left doesn't get into it."""

    @classmethod
    def of(cls, out: Path, division: Division) -> "_Place":
        contents = {stage.name: contents_hash(stage) for stage in division.upstream}
        folder = hidden_beside(out, ".partial")
        return cls(out, folder, folder / _files_of(division.settings, contents))

    @property
    def is_finished(self) -> bool:
        """Whether the files have become the export, and only the rest is still there."""
        return self._is_out_there and self._is_begun and not self.files.is_dir()

    @property
    def is_taken_over(self) -> bool:
        """Whether another one has finished what this one has begun: not all that it has begun is there."""
        return self._is_out_there and not (self._is_begun and self._has_rows and self.files.is_dir())

    @property
    def _is_out_there(self) -> bool:
        return self.out.is_dir() and any(self.out.iterdir())

    @property
    def _is_begun(self) -> bool:
        """Whether this export is, and not another one into the same folder."""
        try:
            before = load(self.partial)
        except StoreError:
            return False
        return _files_of(before.settings, before.upstream) == self.files.name

    @property
    def _has_rows(self) -> bool:
        return any(self.partial.glob("*.parquet"))

    def begin(self) -> None:
        """Make the folder of the files, unless some are there already, or were."""
        if not self._has_rows:
            make_folder(self.files)

    def require_begun(self) -> None:
        """Make sure that the files are here, and not where they belong.

        Raises:
            StoreError: they aren't.
        """
        require_new(self.out)
        if not self.files.is_dir():
            raise StoreError(
                f"expected the files of an export that was begun in {self.files}, found none: delete "
                f"{self.partial} and run the same command again"
            )

    def clear(self) -> None:
        """Remove all but the export."""
        remove_shared(self.partial)

    def clear_if_nothing_is_done(self, driver: Driver) -> None:
        """After an error: what is there is kept for the next run, and there is nothing."""
        if driver == "shared" or not self.partial.is_dir():
            return
        with suppress(StoreError), locked(self.partial):
            require_unshared(self.partial)
            if not self._has_rows:
                remove_folder(self.partial)


def _files_of(settings: Mapping[str, Json], contents: Mapping[str, str]) -> str:
    """What the folder of the files is called."""
    return f"files-{canonical_hash([settings, contents])[:12]}"


@dataclass(frozen=True)
class _Entries:
    """The entries of a finished stage."""

    rows: StageReader[ExportRow]
    images: int

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[Sequence[bytes]]:
        return (row.entries for row in self.rows if row.width)


# ---------------------------------------------------------------------- what is shared out


def division_of_labels(
    labels: StageLabels, writer: Writer, photographs: Photographs, settings: Mapping[str, Json]
) -> Division:
    """The images of a run in a format. `settings` has what else decides the bytes."""
    return Division(
        StageReader(labels.objects, ObjectRow).shards,
        partial(_make_labels_work, labels, writer, photographs),
        writer.join,
        settings,
        [labels.objects, labels.parts],
        "photographs",
        len(labels),
    )


def _make_labels_work(labels: StageLabels, writer: Writer, photographs: Photographs, files: Path) -> Work:
    def work(shard: Shard[ImageRef]) -> Iterator[ExportRow]:
        pairs = list(labels.shard(shard.name))
        with photographs.fetched(row.file_name for row, image in pairs if image is not None):
            for row, image in pairs:
                entries: Sequence[bytes] = ()
                if image is not None:
                    photographs.put(row.file_name, files)
                    piece = writer.piece(image)
                    write_files(files, piece.files)
                    entries = piece.entries
                yield row.to(ExportRow, entries)

    return work


def division_of_stages(stages: Mapping[str, Path]) -> Division:
    """The rows of stages as they are, as Hugging Face datasets: a file a shard."""
    names = huggingface.shard_files(stages)
    return Division(
        [Shard(name.removesuffix(".parquet").replace("/", "-"), (ImageRef(name),)) for name in names],
        partial(_make_copying_work, stages),
        partial(_described, tuple(stages)),
        {"format": "datasets"},
        [*stages.values()],
        "files",
    )


def _make_copying_work(stages: Mapping[str, Path], files: Path) -> Work:
    shards = huggingface.shard_files(stages)

    def work(shard: Shard[ImageRef]) -> Iterator[ExportRow]:
        for item in shard.inputs:
            huggingface.copy_shard(shards, item.image_id, files)
            yield ExportRow(item.image_id, "", 0, 0, "ok", "", ())

    return work


def _described(names: Sequence[str], folder: Path, entries: Entries) -> str:  # noqa: ARG001
    return huggingface.describe(folder, names)
