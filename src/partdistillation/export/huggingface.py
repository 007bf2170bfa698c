"""Hugging Face datasets: Parquet files, and a README that says where `load_dataset` finds them.

Without decoding, the stages' own shards with masks as run lengths (docs/file-formats.md):

    objects/*.parquet, parts/*.parquet, README.md

Decoded, a row a mask, as a PNG that `datasets` gives as an image:

    masks/00000.parquet, README.md
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from partdistillation.export.categories import full_name
from partdistillation.export.labels import ImageLabels
from partdistillation.export.pieces import Entries, Piece
from partdistillation.functional.masks import Mask, decoded
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.manifest import Entry, load
from partdistillation.runs.progress import followed
from partdistillation.runs.stage_reader import shard_file

README, MASKS = "README.md", "masks"
_ROWS = 4_096
"""Masks in a file."""
_FEATURES: Mapping[str, tuple[pa.DataType, object]] = {
    "file_name": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "object_id": (pa.int64(), {"dtype": "int64", "_type": "Value"}),
    "object_class": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "part": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "name": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "score": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "mask": (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"_type": "Image"}),
}
"""The columns, as Arrow has them and as `datasets` does."""


def shard_files(stages: Mapping[str, Path]) -> dict[str, tuple[Path, Entry]]:
    """The shards of stages, by their files in the export: `parts/car-00000.parquet`."""
    return {
        f"{name}/{entry.file}": (stage / entry.file, entry)
        for name, stage in stages.items()
        for entry in load(stage).shards
    }


def copy_shard(shards: Mapping[str, tuple[Path, Entry]], file: str, folder: Path) -> None:
    """Copy one of `shard_files` into the export.

    Raises:
        StoreError: it is missing or damaged.
    """
    make_folder((folder / file).parent)
    replace_file(folder / file, shard_file(*shards[file]))


def describe(folder: Path, names: Iterable[str]) -> str:
    """Write the README of stages whose shards are there; return a line on them."""
    replace_file(folder / README, _readme(names).encode())
    return "the rows as they are, masks as run lengths"


class Writer:
    """A row a mask, of objects (`part` is empty) and of parts.

    The entries of an image: of each mask the row without it, as text, and a PNG.
    """

    def piece(self, image: ImageLabels) -> Piece:
        """The rows of an image."""
        return Piece([*_entries(image)])

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the files of rows; return a line on them."""
        features = {name: description for name, (_, description) in _FEATURES.items()}
        schema = pa.schema([(name, kind) for name, (kind, _) in _FEATURES.items()])
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        make_folder(folder / MASKS)
        rows, count = _rows(followed(entries, "photographs", unit="joined")), 0
        for number, some in enumerate(_some(rows)):
            count += len(some)
            buffer = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist(some, schema=schema), buffer)
            replace_file(folder / MASKS / f"{number:05d}.parquet", buffer.getvalue().to_pybytes())
        replace_file(folder / README, _readme((MASKS,)).encode())
        return f"{count} masks as images"


def _some(rows: Iterator[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    """So many at a time; where there is none, a single empty list, for a file that says the columns."""
    some = list(islice(rows, _ROWS))
    yield some
    while some := list(islice(rows, _ROWS)):
        yield some


def _rows(images: Iterable[Sequence[bytes]]) -> Iterator[Mapping[str, object]]:
    for entries in images:
        for text, png in zip(entries[::2], entries[1::2], strict=True):
            yield json.loads(text) | {"mask": {"bytes": png, "path": None}}


def _entries(image: ImageLabels) -> Iterator[bytes]:
    for number, label in enumerate(image.objects):
        row = {
            "file_name": image.image.file_name,
            "object_id": number,
            "object_class": label.category,
            "part": "",
            "name": label.category,
            "score": label.score,
        }
        yield json.dumps(row).encode()
        yield _png(label.mask)
        for part in label.parts:
            name = full_name(label.category, part.name)
            yield json.dumps(row | {"part": part.name, "name": name, "score": part.score}).encode()
            yield _png(part.mask)


def _png(mask: Mask) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(decoded(mask)).save(buffer, "PNG")
    return buffer.getvalue()


def _readme(names: Iterable[str]) -> str:
    configs = [{"config_name": name, "data_files": f"{name}/*.parquet"} for name in names]
    head = yaml.safe_dump({"configs": configs, "tags": ["part-segmentation"]}, sort_keys=False)
    return (
        f"---\n{head}---\n\n# Objects and parts\n\nWritten by partdistillation. "
        f'`datasets.load_dataset("this folder", "{configs[0]["config_name"]}")` reads it.\n'
    )
