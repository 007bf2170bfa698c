"""Model folders: a part model's files changed (a number is the seed), or made to cost much (by name).

The folder of a whole model is `FUZZ_MODEL`, an environment variable; how it is made costs seconds.
"""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import changed_bytes, changed_document
from PIL import Image

from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.inference import ObjectMask, PartSegmenter
from partdistillation.models.part_mask2former import PartMask2Former

EXPECTED = (CheckpointError, ConfigError, InputError)
WEIGHTS = "model.safetensors"


def write(folder: Path, case: str) -> None:
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(os.environ["FUZZ_MODEL"], model)
    if case.isdigit():
        change(model, np.random.default_rng(int(case)))
    else:
        HOSTILE[case](model)


def read(folder: Path) -> None:
    """Load the folder in both ways; a model that loads has finite scores."""
    model = folder / "model"
    PartMask2Former.from_pretrained(model)
    segmenter = PartSegmenter.from_pretrained(model, device="cpu")
    mask = np.ones((40, 50), np.bool_)
    result = segmenter(Image.new("RGB", (50, 40)), [ObjectMask(mask, name) for name in segmenter.class_names])
    assert all(0 <= part.score <= 1 for instance in result.objects for part in instance.parts)


def change(model: Path, rng: np.random.Generator) -> None:
    files = sorted(path for path in model.iterdir() if path.is_file())
    path = files[rng.integers(len(files))]
    data = path.read_bytes()
    if rng.random() < 0.1:
        path.unlink()
    elif path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(json.dumps(changed_document(json.loads(data), rng)))
    else:
        path.write_bytes(changed_bytes(data, rng))


def set_values(model: Path, **values: Any) -> None:
    """In config.json, wherever a section has these names."""
    path = model / "config.json"
    path.write_text(json.dumps(_with(json.loads(path.read_text()), values)))


def _with(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: values[key] if key in values else _with(inner, values) for key, inner in value.items()}
    return value


def setting(**values: Any) -> Callable[[Path], None]:
    return lambda model: set_values(model, **values)


def writing(name: str, content: bytes) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        (model / name).write_bytes(content)

    return write


def nan_weights(model: Path) -> None:
    """All numbers of the first tensor."""
    data = bytearray((model / WEIGHTS).read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    tensors = json.loads(data[8 : 8 + length])
    start, end = next(entry["data_offsets"] for name, entry in tensors.items() if name != "__metadata__")
    data[8 + length + start : 8 + length + end] = struct.pack("<f", float("nan")) * ((end - start) // 4)
    (model / WEIGHTS).write_bytes(data)


def index_of_pickle(model: Path) -> None:
    (model / WEIGHTS).unlink()
    index = {"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}}
    (model / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04N.")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "config.json is a list": writing("config.json", b"[]"),
    "config.json of 200,000 brackets": writing("config.json", b"[" * 200_000),
    "config.json is empty": writing("config.json", b""),
    "config.json isn't text": writing("config.json", b"\xff\xfe\0"),
    "weights are empty": writing(WEIGHTS, b""),
    "weights with a header of 2^60 bytes": writing(WEIGHTS, struct.pack("<Q", 2**60)),
    "weights that aren't a number": nan_weights,
    "an index that names a pickle": index_of_pickle,
    "num_parts of 10^9": setting(num_parts=10**9),
    "num_queries of 10^9": setting(num_queries=10**9),
    "hidden_dim of 10^9": setting(hidden_dim=10**9),
    "decoder_layers of 10^9": setting(decoder_layers=10**9),
    "encoder_layers of 10^6": setting(encoder_layers=10**6),
    "image_size of 0": setting(image_size=0),
    "image_size of 10^9": setting(image_size=10**9),
    "pixel_mean of 9 values": setting(pixel_mean=[0.5] * 9),
    "a class twice": setting(class_names=["car", "car"]),
    "no classes": setting(class_names=[]),
    "a part table of 200,000 brackets": writing("part_table.json", b"[" * 200_000),
    "a part table that is a list": writing("part_table.json", b"[]"),
}
