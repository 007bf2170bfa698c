"""A run's parts with their features, in files that are searched where they lie.

`OUT/studio/parts/` is made once from `OUT/features` and `OUT/parts` and holds

    features.npy    N x D, little-endian float16: what the parts were clustered by, as stage 4 left it
    parts.npy       N records (`RECORD`), in the same order: by object class, then as in `OUT/parts`
    masks.bin       the parts' masks, compressed run-length encodings one after the other
    images.parquet  `image_id`, `file_name`, `width`, `height` of the photographs, in the order of `OUT/parts`
    index.json      what it was made from, and each object class's first row
    sha256.json     SHA-256 of all of these

It is there whole or not at all, may be deleted at any time, and is made again where the parts are others.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float16, Shaped

from partdistillation.errors import CheckpointError, InputError
from partdistillation.functional.masks import encoded_box
from partdistillation.runs import digests
from partdistillation.runs.atomic import (
    explained,
    locked,
    make_folder,
    new_folder,
    replace_file,
    replacing_file,
)
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectParts, ObjectProposals, PartRow, ProposalRow
from partdistillation.runs.run_folder import FEATURES, PARTS, STUDIO, find_stage
from partdistillation.runs.stage_reader import StageReader, contents_hash
from partdistillation.stages.class_features import ClassFeatures, sorted_by_class

INDEX = "parts"
_PARTS = PARTS[0]
"""Features are kept of a run's own parts alone."""
_FORMAT = 1
_LOCK = ".parts.lock"
_SCRATCH = ".parts.scratch"
_VECTORS = "features.npy"
_RECORDS = "parts.npy"
_MASKS = "masks.bin"
_IMAGES = "images.parquet"
_ABOUT = "index.json"

RECORD = np.dtype(
    [
        ("image", "<i4"),  # its row in images.parquet
        ("object_id", "<i4"),
        ("place", "<i4"),  # in the object's list of parts
        ("part", "<i4"),
        ("score", "<f4"),
        ("box", "<f4", 4),
        ("mask_start", "<i8"),
        ("mask_size", "<i4"),
    ]
)


class PartIndex(NamedTuple):
    """The files, mapped into memory; the photographs' names alone are read."""

    features: Float16[np.ndarray, "part dim"]
    parts: Shaped[np.ndarray, " part"]
    masks: Shaped[np.ndarray, " byte"]
    images: pa.Table
    rows: Mapping[str, range]
    """The rows of each object class that has parts."""


def open_index(out: Path) -> PartIndex:
    """The index of a run, which is made first where it isn't there, is damaged, or of other parts.

    Of processes that make it at the same time one does, and the others wait.

    Raises:
        InputError: the run has no parts, or keeps no features of them, or those of other parts.
        StoreError: stage 4 isn't finished, its rows are damaged, or the folder can't be written.
    """
    for name in (FEATURES, _PARTS):
        if find_stage(out / name, ()) is None:
            raise InputError(
                f"expected the parts of a run and their features in {out}, found no {name}/: parts are "
                "compared by what stage 4 kept of them. Run `partdistill rank` with this --out first"
            )
    origin: dict[str, Json] = {"format": _FORMAT}
    origin |= {name: contents_hash(out / name) for name in (FEATURES, _PARTS)}
    folder = make_folder(out / STUDIO) / INDEX
    with locked(folder.parent, name=_LOCK, wait=True):
        if not _is_whole(folder, origin):
            with explained(folder):
                shutil.rmtree(folder, ignore_errors=True)
                _make(folder, out, origin)
        return _mapped(folder)


def _is_whole(folder: Path, origin: Mapping[str, Json]) -> bool:
    """Whether the index is there, undamaged and of these parts."""
    try:
        if digests.recorded(folder) is None:
            return False
        digests.require_whole(folder)
    except CheckpointError:
        return False
    return bool(json.loads((folder / _ABOUT).read_bytes())["origin"] == origin)


def _mapped(folder: Path) -> PartIndex:
    records = np.load(folder / _RECORDS, mmap_mode="r")
    starts = json.loads((folder / _ABOUT).read_bytes())["starts"]
    bounds = pairwise([*starts.values(), len(records)])
    return PartIndex(
        np.load(folder / _VECTORS, mmap_mode="r"),
        records,
        np.memmap(folder / _MASKS, np.uint8, mode="r"),
        pq.read_table(folder / _IMAGES),
        {category: range(*ends) for category, ends in zip(starts, bounds, strict=True)},
    )


# ---------------------------------------------------------------------- making it


def _make(folder: Path, out: Path, origin: Mapping[str, Json]) -> None:
    """In one pass over the rows: memory holds a shard or a piece of the features, and photographs' names."""
    with new_folder(folder) as place, sorted_by_class(folder.with_name(_SCRATCH)) as collected:
        with replacing_file(place / _MASKS) as write_masks:
            counts = _collect(out, collected, write_masks, place / _IMAGES)
        if not counts:
            raise InputError(f"expected parts in {out / _PARTS}, found none: there is nothing to compare")
        for name, field in ((_VECTORS, "feature"), (_RECORDS, "record")):
            pieces = (piece[field] for category in counts for piece in collected.pieces(category))
            _write_array(place / name, pieces, sum(counts.values()))
        starts = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
        text = json.dumps({"origin": origin, "starts": starts}, indent=1, ensure_ascii=False)
        replace_file(place / _ABOUT, (text + "\n").encode())
        names = (_VECTORS, _RECORDS, _MASKS, _IMAGES, _ABOUT)
        digests.write_digests(place, {name: digests.file_digest(place / name) for name in names})


def _collect(
    out: Path, collected: ClassFeatures, write_masks: Callable[[bytes], None], images: Path
) -> dict[str, int]:
    """Sort the parts by object class, write their masks and the photographs; the number of parts by class."""
    names: dict[str, list[str | int]] = {"image_id": [], "file_name": [], "width": [], "height": []}
    counts: Counter[str] = Counter()
    offset, dim = 0, 0
    for image, (row, proposed) in enumerate(_rows(out)):
        for name, values in names.items():
            values.append(getattr(row, name))
        for labelled, proposals in zip(row.objects, proposed.objects, strict=True):
            if not labelled.parts:  # too few proposals of its class for part classes
                continue
            features = _features(labelled, proposals, row.image_id)
            dim = dim or features.shape[1]
            if features.shape[1] != dim:
                raise _unusable(f"of {dim} numbers", f"{features.shape[1]}", row.image_id)
            records = np.zeros(len(features), [("record", RECORD), ("feature", "<f2", (dim,))])
            records["feature"] = features
            for place, part in enumerate(labelled.parts):
                identity = image, labelled.object_id, place, part.part, part.score
                box = encoded_box(part.rle, row.height, row.width)
                records["record"][place] = (*identity, box, offset, len(part.rle))
                offset += len(part.rle)
            write_masks(b"".join(part.rle for part in labelled.parts))
            collected.add(labelled.category, records)
            counts[labelled.category] += len(records)
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(names), buffer)
    replace_file(images, buffer.getvalue().to_pybytes())
    return dict(sorted(counts.items()))


def _rows(out: Path) -> Iterator[tuple[PartRow, ProposalRow]]:
    """Parts and proposals of each photograph."""
    stages = StageReader(out / _PARTS, PartRow), StageReader(out / FEATURES, ProposalRow)
    for row, proposed in zip_longest(*stages):
        if row is None or proposed is None or _objects(row) != _objects(proposed):
            raise _unusable("of the run's parts", "those of others", (row or proposed).image_id)
        yield row, proposed


def _objects(row: PartRow | ProposalRow) -> tuple[str, list[int]]:
    return row.image_id, [instance.object_id for instance in row.objects]


def _features(
    labelled: ObjectParts, proposed: ObjectProposals, image_id: str
) -> Float16[np.ndarray, "part dim"]:
    """The features of an object's parts."""
    if [part.rle for part in labelled.parts] != [proposal.rle for proposal in proposed.proposals]:
        raise _unusable("of the run's parts", "those of others", image_id)
    features = np.stack([proposal.feature for proposal in proposed.proposals])
    if not np.isfinite(features).all():
        raise _unusable("that are finite", "NaN or infinity", image_id)
    return features


def _unusable(expected: str, present: str, image_id: str) -> InputError:
    return InputError(
        f"image {image_id!r:.80}: expected features {expected}, found {present}. Delete {FEATURES}/, "
        f"part_classes/ and {_PARTS}/ of the run, and run `partdistill rank` again"
    )


def _write_array(path: Path, pieces: Iterable[Shaped[np.ndarray, "..."]], count: int) -> None:
    """Write pieces of an array as a .npy file, of `count` rows in all."""
    with replacing_file(path) as write:
        for number, piece in enumerate(pieces):
            if number == 0:
                header = BytesIO()
                layout = np.lib.format.dtype_to_descr(piece.dtype)
                values = {"descr": layout, "fortran_order": False, "shape": (count, *piece.shape[1:])}
                np.lib.format.write_array_header_1_0(header, values)
                write(header.getvalue())
            write(piece.tobytes())
