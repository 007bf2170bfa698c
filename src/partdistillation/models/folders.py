"""What a model's folder says, checked before anything is made of it: it may come from anybody.

A `config.json` of a few bytes can ask for more layers than there is time, and for weights larger than memory;
transformers reads whatever the index of the weights names, pickles too.
"""

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers.utils.hub import cached_file

from partdistillation.errors import CheckpointError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MOST_PARTS, MOST_PIXELS = 10_000, 16_384
"""Of an object class, and along an image's longest side: more is a slip, or somebody's joke."""

_MOST_BYTES = 200_000_000
"""Of a JSON file; config.json names each part of 21,000 classes twice, in 20 MB."""
_MOST = 1_000_000
"""No size in a network's configuration is larger; vocabularies have 300,000 words."""
_MOST_LAYERS = 200
_LAYERS = re.compile(r"(layers|depths?|blocks|stages|levels)$")
_NAMES = ("partdistillation", "id2label", "label2id")
"""Values of a configuration that nothing is built from."""
_SPARE = 10_000_000
"""Numbers that a network may have beyond twice those in its file: tables that are computed."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model's folder.

    Raises:
        CheckpointError: it can't be read, is too large or nested too deeply, or holds something else.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CheckpointError(f"{path}: expected at most {_MOST_BYTES} bytes; is it a model's?")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: expected a JSON file, found {error.strerror}") from error
    except ValueError as error:  # UTF-8 errors too
        raise CheckpointError(f"{path}: expected JSON: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path}: expected JSON, found brackets nested too deeply") from None
    return check_object(content, path)


def check_object(content: Any, origin: object) -> dict[str, Any]:
    """Raise CheckpointError unless it is a JSON object."""
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{origin}: expected a JSON object with a model's settings, found a {type(content).__name__}"
        )
    return content


def check_numbers(values: Mapping[str, Any], origin: object) -> None:
    """Refuse sizes that no network has, before one is built.

    Raises:
        CheckpointError: a number over a million, or more layers than two hundred; the message names it.
    """
    for name, number in _numbers(values):
        most = _MOST_LAYERS if _LAYERS.search(name) else _MOST
        if not -most <= number <= most:
            raise CheckpointError(f"{origin}: {name}: expected at most {most}, found {number:.6g}")


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The integers in a configuration, of lists their sum, with the names of their settings."""
    for name, value in values.items():
        entries = value if isinstance(value, list) else [value]
        yield name, sum(abs(entry) for entry in entries if type(entry) is int)
        for entry in entries:
            if isinstance(entry, dict) and name not in _NAMES:
                yield from _numbers(entry)


def check_files(source: str | Path) -> None:
    """Refuse an index of weights that names anything but safetensors in the model's own folder.

    Raises:
        CheckpointError: it does, or can't be read.
    """
    index = _index(source)
    if index is None:
        return
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise CheckpointError(
            f"{index}: expected `weight_map` with a file for each weight, found {files!r:.60}"
        )
    for file in set(map(str, files.values())):
        if not file.endswith(".safetensors") or Path(file).name != file:
            raise CheckpointError(
                f"{index}: expected names of .safetensors files beside it, found {file!r:.80}; pickles are "
                "never loaded"
            )


def _index(source: str | Path) -> Path | None:
    """The index of weights that lie in several files."""
    if Path(source).is_dir():
        path = Path(source) / INDEX
        return path if path.is_file() and not (Path(source) / WEIGHTS).is_file() else None
    missing = {
        f"_raise_exceptions_for_{problem}": False
        for problem in ("missing_entries", "connection_errors", "gated_repo")
    }
    try:
        cached = cached_file(str(source), INDEX, **missing)
    except Exception:  # there is no such model, which loading its weights says
        return None
    return None if cached is None else Path(cached)


def check_size(directory: Path, build: Callable[[], nn.Module]) -> None:
    """Refuse a configuration that asks for a much larger network than the weights are of.

    `build` makes the network, here on no device.

    Raises:
        CheckpointError: it does, no network can be made of it, or the files aren't safetensors.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd sizes, which loading the weights repeats
            network = build()
    except Exception as error:  # strict configurations raise their own classes
        raise CheckpointError(f"{directory}/{CONFIG} can't be used: {error}") from error
    asked = sum(value.numel() for value in (*network.parameters(), *network.buffers()))
    stored = sum(map(_stored, directory.glob("*.safetensors")))
    if asked > 2 * stored + _SPARE:
        raise CheckpointError(
            f"{directory}: the weights aren't those of its {CONFIG}, which is of a network of {asked:,} "
            f"numbers; found {stored:,}"
        )


def _stored(path: Path) -> int:
    """How many numbers a file of weights holds, by its header."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except Exception as error:  # safetensors has its own
        raise CheckpointError(f"{path}: the weights can't be read: {error}") from error
    return sum(torch.Size(shape).numel() for shape in shapes)


def check_finite(source: object, network: nn.Module) -> None:
    """Raise CheckpointError where a weight isn't a finite number."""
    damaged = [name for name, value in network.state_dict().items() if not bool(value.isfinite().all())]
    if damaged:
        more = f" and {len(damaged) - 1} more tensors" if len(damaged) > 1 else ""
        raise CheckpointError(
            f"{source}: expected finite weights, found NaN or infinity in {damaged[0]}{more}; the file is "
            "damaged, or its training diverged"
        )


def checked_section(section: Any) -> dict[str, Any]:
    """The fields of `pretrained.ModelInfo` in our section of config.json.

    Raises:
        KeyError, TypeError, ValueError: one is missing, or isn't what it should be.
    """
    if not isinstance(section, dict):
        raise TypeError(f"expected a JSON object, found a {type(section).__name__}")
    names = section["class_names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names: expected a list of names, found {names!r:.60}")
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"class_names: expected each name once, found {name!r} {count} times")
    frozen_norms = section.get("frozen_norms", False)
    for name in ("normalize_mask_embeddings", "frozen_norms"):
        value = section.get(name, False) if name == "frozen_norms" else section[name]
        if type(value) is not bool:
            raise TypeError(f"{name}: expected true or false")
    return {
        "class_names": tuple(names),
        "num_parts": _integer(section, "num_parts", 0, MOST_PARTS),
        "image_size": _integer(section, "image_size", 1, MOST_PIXELS),
        "pixel_mean": _three_numbers(section, "pixel_mean"),
        "pixel_std": _three_numbers(section, "pixel_std", above=0.0),
        "frozen_norms": frozen_norms,
        "normalize_mask_embeddings": section["normalize_mask_embeddings"],
    }


def _integer(section: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = section[name]
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name}: expected an integer from {low} to {high}, found {value!r:.20}")
    return value


def _three_numbers(
    section: Mapping[str, Any], name: str, above: float = -math.inf
) -> tuple[float, float, float]:
    values = section[name]
    if not isinstance(values, list):
        raise TypeError(f"{name}: expected three numbers, found {values!r:.60}")
    numbers = [value for value in values if type(value) in (int, float) and above < value < math.inf]
    if len(values) != 3 or len(numbers) != 3:
        least = "" if above == -math.inf else f" above {above:g}"
        raise ValueError(f"{name}: expected three finite numbers{least}, found {values!r:.60}")
    return numbers[0], numbers[1], numbers[2]
