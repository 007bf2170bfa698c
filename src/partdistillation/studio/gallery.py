"""A run's parts to look at: which there are, in what order, and their pictures."""

import threading
from collections.abc import Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from fastapi import HTTPException
from jaxtyping import Bool

from partdistillation.errors import PartDistillationError
from partdistillation.functional.masks import decode
from partdistillation.runs import manifest
from partdistillation.runs.records import Object, ObjectRow, PartRow
from partdistillation.runs.run_folder import OBJECTS, PARTS, find_stage, remembered_images
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.studio.examples import Examples, ShardRows
from partdistillation.studio.similar import SimilarParts
from partdistillation.studio.workspace import Workspace

Order = Literal["typical", "surest"]
_PATIENCE = 2.0
"""Seconds that the first question waits for the features' index, which takes longer for large runs."""
_KEPT = 4
"""Runs whose parts are kept in memory."""


class Page(NamedTuple):
    """Some examples, in an order."""

    numbers: list[int]
    order: Order


class Shown(NamedTuple):
    """A part and its photograph."""

    row: PartRow
    mask: Bool[np.ndarray, "height width"]
    around: Bool[np.ndarray, "height width"] | None
    """Its object."""


class Gallery:
    """The parts of a run; may be used by several threads at once.

    Args:
        out: the run's folder.
        stage: the folder of its parts.
        images: the folder of its photographs; without it, what the run remembers.

    Raises:
        StoreError: the parts are missing or damaged.
    """

    def __init__(self, out: Path, stage: Path, images: Path | None = None) -> None:
        self.out = out
        self.examples = Examples(stage)
        self.images = images or remembered_images(out)
        self._parts = ShardRows(stage, PartRow)
        objects = find_stage(out / OBJECTS, ())
        self._objects = None if objects is None else ShardRows(objects, ObjectRow)
        self._similar: SimilarParts | str = (
            "the features of this run's parts are being sorted; ask again soon"
        )
        self._ready = threading.Event()
        threading.Thread(target=self._sort, daemon=True).start()

    def _sort(self) -> None:
        """Open the index of features, which may take minutes the first time."""
        try:
            self._similar = SimilarParts.open(self.out)
        except PartDistillationError as error:
            self._similar = str(error)
        finally:
            self._ready.set()

    def page(
        self, category: str, parts: Sequence[int], *, offset: int, count: int, order: Order | None = None
    ) -> Page:
        """Examples of part classes that count as one.

        Args:
            category: their object class.
            parts: at least one, all with examples.
            offset: where the page begins.
            count: how many examples, at most.
            order: as the page before; without it the most typical first, where features are there.
        """
        if order != "surest":
            self._ready.wait(_PATIENCE)
        if order == "surest" or isinstance(self._similar, str):
            return Page(self.examples.surest(category, parts, offset, count), "surest")
        if len(parts) == 1:
            best = self._similar.most_typical(category, parts[0], offset=offset, count=count)
        else:
            lists = (self._similar.most_typical(category, part, count=offset + count) for part in parts)
            together = merge(*lists, key=lambda neighbour: -neighbour.similarity)
            best = list(islice(together, offset, offset + count))
        return Page([self.examples.number(*neighbour.key) for neighbour in best], "typical")

    @property
    def preparing(self) -> bool:
        """Whether the order by features is yet to come."""
        return not self._ready.is_set()

    def similar(self, number: int, *, same_class: bool, count: int) -> list[tuple[int, float]]:
        """The parts most similar to one, with their similarity.

        Raises:
            HTTPException: the run has no features, or they aren't sorted yet.
        """
        self._ready.wait(_PATIENCE)
        if isinstance(self._similar, str):
            raise HTTPException(503 if self.preparing else 409, self._similar)
        neighbours = self._similar.of(self.examples.key(number), same_class=same_class, count=count)
        return [(self.examples.number(*neighbour.key), neighbour.similarity) for neighbour in neighbours]

    def row(self, image: int) -> PartRow:
        """The parts of a photograph."""
        return self._parts.row(*self.examples.shard_of(image))

    def objects(self, image: int) -> tuple[Object, ...]:
        """The objects of a photograph; none where the run doesn't keep them."""
        return () if self._objects is None else self._objects.row(*self.examples.shard_of(image)).objects

    def part(self, number: int) -> Shown:
        """A part, to be drawn."""
        image, key = self.examples.image(number), self.examples.key(number)
        row, wholes = self.row(image), self.objects(image)
        labelled = next(instance for instance in row.objects if instance.object_id == key.object_id)
        part = labelled.parts[key.place]
        whole = next((whole for whole in wholes if whole.object_id == key.object_id), None)
        around = None if whole is None else decode(whole.rle, row.height, row.width)
        return Shown(row, decode(part.rle, row.height, row.width), around)


class Galleries:
    """The galleries of a studio's runs, opened when somebody comes."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._open: dict[str, Gallery] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Gallery:
        """The gallery of a run, of the parts that it has now.

        Raises:
            HTTPException: there is no such run, or it has no parts yet.
            StoreError: the parts are missing or damaged.
        """
        out = self._workspace.out(name)
        stage = next((stage for part in PARTS if (stage := find_stage(out / part, ()))), None)
        if stage is None or not all(shard.sha256 for shard in manifest.load(stage).shards):
            raise HTTPException(404, "this run has no parts yet: stage 4 makes them")
        with self._lock:
            gallery = self._open.pop(name, None)
            if gallery is None or gallery.examples.version != stage_hash(stage)[:16]:
                gallery = Gallery(out, stage, self._workspace.images)
            self._open[name] = gallery
            if len(self._open) > _KEPT:
                del self._open[next(iter(self._open))]
        return gallery
