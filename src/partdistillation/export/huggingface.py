"""Hugging Face datasets: Parquet files, and a README that says where `load_dataset` finds them.

Without decoding, the stages' own shards with masks as run lengths (docs/file-formats.md):

    objects/*.parquet, parts/*.parquet, README.md

Decoded, a row a mask, as a PNG that `datasets` gives as an image:

    masks/00000.parquet, README.md
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from partdistillation.export.categories import full_name
from partdistillation.export.labels import ImageLabels, Labels
from partdistillation.functional.masks import Mask, decoded
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.manifest import load
from partdistillation.runs.mirror import fetch
from partdistillation.runs.progress import followed

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


def write_shards(folder: Path, stages: Mapping[str, Path]) -> str:
    """Copy stages' shards as they are, each under its name; return a line on them."""
    for name, stage in stages.items():
        make_folder(folder / name)
        for shard in sorted(fetch(stage / entry.file) for entry in load(stage).shards):
            replace_file(folder / name / shard.name, shard.read_bytes())
    replace_file(folder / README, _readme(stages).encode())
    return "the rows as they are, masks as run lengths"


def write(folder: Path, labels: Labels) -> str:
    """Write a row a mask, of objects (`part` is empty) and of parts; return a line on them.

    Raises:
        InputError: a mask is damaged.
    """
    features = {name: description for name, (_, description) in _FEATURES.items()}
    schema = pa.schema([(name, kind) for name, (kind, _) in _FEATURES.items()])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    make_folder(folder / MASKS)
    rows, count = _rows(followed(labels.images, "photographs", unit="written")), 0
    for number, piece in enumerate(_pieces(rows)):
        count += len(piece)
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(piece, schema=schema), buffer)
        replace_file(folder / MASKS / f"{number:05d}.parquet", buffer.getvalue().to_pybytes())
    replace_file(folder / README, _readme((MASKS,)).encode())
    return f"{count} masks as images"


def _pieces(rows: Iterator[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    """So many at a time; where there is none, a single empty list, for a file that says the columns."""
    piece = list(islice(rows, _ROWS))
    yield piece
    while piece := list(islice(rows, _ROWS)):
        yield piece


def _rows(images: Iterable[ImageLabels]) -> Iterator[Mapping[str, object]]:
    for image in images:
        for number, label in enumerate(image.objects):
            row = {
                "file_name": image.image.file_name,
                "object_id": number,
                "object_class": label.category,
                "part": "",
                "name": label.category,
                "score": label.score,
                "mask": _png(label.mask),
            }
            yield row
            for part in label.parts:
                name = full_name(label.category, part.name)
                own = {"part": part.name, "name": name, "score": part.score, "mask": _png(part.mask)}
                yield row | own


def _png(mask: Mask) -> Mapping[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(decoded(mask)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _readme(names: Iterable[str]) -> str:
    configs = [{"config_name": name, "data_files": f"{name}/*.parquet"} for name in names]
    head = yaml.safe_dump({"configs": configs, "tags": ["part-segmentation"]}, sort_keys=False)
    return (
        f"---\n{head}---\n\n# Objects and parts\n\nWritten by partdistillation. "
        f'`datasets.load_dataset("this folder", "{configs[0]["config_name"]}")` reads it.\n'
    )
