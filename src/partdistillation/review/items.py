"""What is judged: the part classes of runs, each by a few tiles, which are drawn when first asked for."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from partdistillation.data.paths import is_file
from partdistillation.errors import InputError
from partdistillation.pictures.webp import webp
from partdistillation.review.collages import LOOK, draw_large, draw_tiles, sample_parts
from partdistillation.review.store import ReviewStore
from partdistillation.runs import stage_reader
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.run_folder import PARTS, images_of, stage_in

TILES = "tiles"
TILE_SIZE = 360
"""Side in pixels: a third of a phone's width at three pixels a point."""
QUALITY = 88
"""Of pictures, as WebP has it."""


class ReviewedRun(NamedTuple):
    """A folder with labelled parts, and the photographs they are in."""

    name: str
    objects: Path
    parts: Path
    images: Path


def find_runs(folders: Sequence[Path], images: Path | None = None) -> list[ReviewedRun]:
    """The runs to review, named by the last part of their paths, or as many parts as tell them apart.

    Args:
        folders: of runs, or what `partdistill predict` wrote.
        images: folder of the photographs; without it each run's own.

    Raises:
        InputError: a folder holds no labelled parts, is given twice, or its photographs aren't known.
    """
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise InputError(f"expected different runs, found one twice: {', '.join(map(str, folders))}")
    return [
        ReviewedRun(
            name,
            stage_in(folder / "objects", ()),
            stage_in(folder, PARTS),
            images_of(folder, images).resolve(),
        )
        for folder, name in zip(resolved, _names(resolved), strict=True)
    ]


def _names(folders: Sequence[Path]) -> list[str]:
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths differ somewhere")


def add_runs(reviewed: ReviewStore, runs: Sequence[ReviewedRun], seed: int) -> dict[int, Path]:
    """Put the part classes of runs into the database, with a sample of images each.

    Args:
        reviewed: the database.
        runs: what is judged.
        seed: decides which images show a part class.

    Returns:
        By a run's id in the database, the folder of its photographs.

    Raises:
        StoreError: the database holds verdicts about other parts, or a run's files are missing or damaged.
        InputError: a run has no part class to judge, or none of its photographs are where they should be.
    """
    images = {_add_run(reviewed, run, seed): run.images for run in runs}
    if len(images) < len(runs):
        raise InputError(f"expected runs with different parts, found the same ones in two of {len(runs)}")
    return images


def _add_run(reviewed: ReviewStore, run: ReviewedRun, seed: int) -> int:
    identity = reviewed.add_run(run.name, f"{stage_reader.stage_hash(run.parts)}, seed {seed}")
    if not reviewed.is_complete(identity):
        samples = [sample for sample in sample_parts(run.objects, run.parts, seed=seed) if sample.tiles]
        if not samples:
            raise InputError(f"{run.parts}: expected labelled parts to review, found none")
        files = (run.images / tile.file_name for sample in samples for tile in sample.tiles)
        if not any(map(is_file, files)):
            raise InputError(
                f"expected the photographs of {run.name} in {run.images}, found none of them: "
                "give their folder as --images"
            )
        reviewed.add_items(identity, samples)
    return identity


class Tiles:
    """The pictures: files named by their ids, which are all that a client may name.

    Args:
        reviewed: knows the ids, and what the tiles show.
        images: folder of the photographs by a run's id.
    """

    def __init__(self, reviewed: ReviewStore, images: Mapping[int, Path]) -> None:
        self._reviewed, self._images = reviewed, images
        self._folder = reviewed.path.parent / TILES
        make_folder(self._folder)
        self._lock = threading.Lock()
        self._drawn = {path.name for path in self._folder.glob("[0-9a-f]*.webp")}

    def file(self, key: str, *, large: bool = False) -> Path | None:
        """The file of the tile with an id, drawn if it isn't there yet; None if there is no such tile.

        Args:
            key: the id.
            large: whether it is looked into: then as large as the photograph allows.
        """
        name = _large_name(key) if large else _name(key)
        if name not in self._drawn:
            with self._lock:
                if name not in self._drawn:
                    self._draw(key, large)
        return self._folder / name if name in self._drawn else None

    def _draw(self, key: str, large: bool) -> None:
        """Draw the tiles of a whole part class: they are asked for together, and may be of one image.

        A large one is asked for alone.
        """
        tiles = self._reviewed.tiles_beside(key)
        if not tiles or (images := self._images.get(self._reviewed.run_of_tile(key))) is None:
            return
        if large:
            self._write(_large_name(key), draw_large(images, tiles[key], TILE_SIZE))
            return
        for beside, drawn in zip(tiles, draw_tiles(images, list(tiles.values()), TILE_SIZE), strict=True):
            self._write(_name(beside), drawn.picture)

    def _write(self, name: str, picture: UInt8[np.ndarray, "side side 3"]) -> None:
        replace_file(self._folder / name, webp(picture, quality=QUALITY))
        self._drawn.add(name)


def _name(key: str) -> str:
    return f"{key}.{LOOK}.webp"


def _large_name(key: str) -> str:
    return f"{key}.{LOOK}.large.webp"
