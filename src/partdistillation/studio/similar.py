"""More like this: which parts of a run are most similar to one, and which are most typical of a part class.

    similar = SimilarParts.open(out)                        # makes OUT/studio/parts/ where it isn't there
    key = PartKey(image_id="car/1.jpg", object_id=0, place=2)
    similar.of(key, same_class=True, count=24)              # -> list[Neighbour], most similar first
    similar.most_typical("car", 3, offset=0, count=24)      # -> list[Neighbour], most typical first
    similar.counts("car")                                   # -> {part: number of examples}

A part is named by its photograph's id, its object's id there, and its place in that object's list of parts in
`OUT/parts`: an object may have several parts of a part class. The key is the same as long as `OUT/parts` is.
Similarity is the cosine of the features that parts were clustered by (`ranking.features`), which stage 4
keeps in float16. Every part is compared: nothing is estimated.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Float32, Int64

from partdistillation.errors import InputError
from partdistillation.kernels.half_products import cosines
from partdistillation.studio.part_index import PartIndex, open_index

BLOCK = 2**18
"""Rows that are compared at once."""


class PartKey(NamedTuple):
    """What a part of a run is named by."""

    image_id: str
    object_id: int
    place: int
    """In its object's list of parts."""


class Neighbour(NamedTuple):
    """A part that was compared, with all that it takes to draw it."""

    key: PartKey
    category: str
    part: int
    score: float
    """Of its mask."""
    similarity: float
    """From -1 to 1."""
    file_name: str
    width: int
    """Of the photograph, in pixels, as its height."""
    height: int
    box: tuple[float, float, float, float]
    """Of the part: xyxy, in pixels."""
    rle: bytes
    """The part's mask, as COCO's compressed run-length encoding."""


class SimilarParts:
    """Compares the parts of a run; may be used by several threads at once."""

    def __init__(self, index: PartIndex) -> None:
        self._index = index

    @classmethod
    def open(cls, out: Path) -> "SimilarParts":
        """The parts of the run in a folder, with an index that is made where it isn't there.

        Raises:
            InputError: the run has no parts, or keeps no features of them, or those of other parts.
            StoreError: stage 4 isn't finished, its rows are damaged, or the folder can't be written.
        """
        return cls(open_index(out))

    def of(self, key: PartKey, *, same_class: bool = True, count: int = 24) -> list[Neighbour]:
        """The parts most similar to one, which isn't among them; others of its photograph may be.

        Args:
            key: the part.
            same_class: only parts of the same object class.
            count: how many parts, at most.

        Raises:
            InputError: there is no such part.
        """
        row = self._row(key)
        rows = self._rows(self._category(row)) if same_class else range(len(self._index.parts))
        best = self._most_similar(_unit(self._index.features[row]), rows, count + 1)
        return [self._neighbour(*pair) for pair in best if pair[0] != row][:count]

    def most_typical(self, category: str, part: int, *, offset: int = 0, count: int = 24) -> list[Neighbour]:
        """A page of a part class's examples, from those nearest to the mean of their directions on.

        Their `similarity` is that with the mean.

        Raises:
            InputError: there is no such part class.
        """
        rows = self._rows(category)
        examples = np.flatnonzero(self._index.parts["part"][rows.start : rows.stop] == part)
        if not len(examples):
            raise InputError(
                f"expected a part class of {category!r:.80} that has parts, found {part}: it has "
                f"{', '.join(map(str, self.counts(category)))}"
            )
        similarities = np.concatenate(list(self._compared(self._mean(rows.start + examples), rows)))[examples]
        page = np.argsort(-similarities, kind="stable")[offset : offset + count]
        return [self._neighbour(rows.start + int(examples[i]), float(similarities[i])) for i in page]

    def counts(self, category: str) -> dict[int, int]:
        """How many examples each part class of an object class has.

        Raises:
            InputError: there are no parts of such an object class.
        """
        rows = self._rows(category)
        parts, counts = np.unique(self._index.parts["part"][rows.start : rows.stop], return_counts=True)
        return dict(zip(parts.tolist(), counts.tolist(), strict=True))

    def _most_similar(
        self, vector: Float32[np.ndarray, " dim"], rows: range, count: int
    ) -> list[tuple[int, float]]:
        """Rows with their similarities, the highest first; of equals the first rows."""
        best, highest = np.zeros(0, np.int64), np.zeros(0, np.float32)
        start = rows.start
        for similarities in self._compared(vector, rows):
            best = np.concatenate([best, np.arange(start, start + len(similarities))])
            highest = np.concatenate([highest, similarities])
            kept = _largest(highest, count)
            best, highest = best[kept], highest[kept]
            start += len(similarities)
        return list(zip(best.tolist(), highest.tolist(), strict=True))

    def _compared(
        self, vector: Float32[np.ndarray, " dim"], rows: range
    ) -> Iterator[Float32[np.ndarray, " row"]]:
        """The similarities of rows with a vector of length 1, a block at a time."""
        for start in range(rows.start, rows.stop, BLOCK):
            block = self._index.features[start : min(start + BLOCK, rows.stop)]
            similarities = np.empty(len(block), np.float32)
            cosines(block.view(np.int16), vector, similarities)
            yield similarities

    def _mean(self, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, " dim"]:
        """The direction of the mean of the rows' directions."""
        total = np.zeros(self._index.features.shape[1])
        for start in range(0, len(rows), BLOCK):
            total += _unit(self._index.features[rows[start : start + BLOCK]]).sum(axis=0, dtype=np.float64)
        return _unit(total)

    def _row(self, key: PartKey) -> int:
        """Where a part is."""
        try:
            image = pc.index(self._index.images["image_id"], key.image_id).as_py()
        except UnicodeEncodeError:  # half a character, which JSON may hold, and Parquet doesn't
            image = -1
        parts = self._index.parts
        (rows,) = np.nonzero(
            (parts["image"] == image) & (parts["object_id"] == key.object_id) & (parts["place"] == key.place)
        )
        if not len(rows):
            raise InputError(f"expected a part of this run, found {tuple(key)!r:.200}")
        return int(rows[0])

    def _rows(self, category: str) -> range:
        if category not in self._index.rows:
            raise InputError(f"expected an object class that has parts, found {category!r:.80}")
        return self._index.rows[category]

    def _category(self, row: int) -> str:
        return next(name for name, rows in self._index.rows.items() if row in rows)

    def _neighbour(self, row: int, similarity: float) -> Neighbour:
        record = self._index.parts[row]
        image = self._index.images.slice(record["image"], 1).to_pylist()[0]
        start = int(record["mask_start"])
        return Neighbour(
            key=PartKey(image["image_id"], int(record["object_id"]), int(record["place"])),
            category=self._category(row),
            part=int(record["part"]),
            score=float(record["score"]),
            similarity=min(max(similarity, -1.0), 1.0),  # rounding leads beyond
            file_name=image["file_name"],
            width=image["width"],
            height=image["height"],
            box=tuple(record["box"].tolist()),
            rle=self._index.masks[start : start + int(record["mask_size"])].tobytes(),
        )


def _largest(values: Float32[np.ndarray, " value"], count: int) -> Int64[np.ndarray, " kept"]:
    """Where the largest values are, in falling order; of equals the first."""
    kept = np.arange(len(values))
    if len(values) > count:
        kept = np.flatnonzero(values >= np.partition(values, -count)[-count])
    return kept[np.argsort(-values[kept], kind="stable")[:count]]


def _unit(vectors: Float[np.ndarray, "*row dim"]) -> Float32[np.ndarray, "*row dim"]:
    """Vectors of length 1 in the same directions; zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors
