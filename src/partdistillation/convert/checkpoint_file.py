"""Reading other code's checkpoints: `.pth` and `.pkl` files, of which nothing is executed."""

import codecs
import importlib
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partdistillation.errors import CheckpointError

_MADE_OF: Mapping[str, tuple[str, ...]] = {
    "multiarray": ("_reconstruct", "scalar"),
    "numeric": ("_frombuffer",),  # by protocol 5
}
"""The functions that make arrays and numbers of what numpy pickles, by their module in numpy."""
_NUMPY: list[Any] = [
    np.ndarray,
    np.dtype,
    codecs.encode,
    *(type(np.dtype(kind)) for kind in ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")),
    *(
        (getattr(importlib.import_module(f"numpy._core.{module}"), name), f"numpy.{core}.{module}.{name}")
        for module, names in _MADE_OF.items()
        for name in names
        for core in ("core", "_core")  # numpy 1's name and today's
    ),
]
"""What arrays and numbers of numpy are made of: detectron2 leaves some beside the weights."""

_REFUSED = re.compile(r"GLOBAL:? (\S+)")


def read_checkpoint(path: Path) -> dict[str, Tensor | np.ndarray]:
    """The weights in a `.pth` or `.pkl` file, by name, without executing anything that is in it."""
    try:
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                content = _ArraysOnly(file).load()
        else:
            with torch.serialization.safe_globals(_NUMPY):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}.") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: expected arrays or tensors by name; {_reason(error)}") from error
    if isinstance(content, Mapping):
        content = content.get("model", content)
    weights = (Tensor, np.ndarray)
    if not isinstance(content, Mapping) or not all(isinstance(value, weights) for value in content.values()):
        raise CheckpointError(f"{path}: expected arrays or tensors by name, found {type(content).__name__}.")
    return {name: _writable(value) for name, value in content.items()}


def _writable(value: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """PyTorch warns of arrays that mustn't be written, as protocol 5 keeps them."""
    return value.copy() if isinstance(value, np.ndarray) and not value.flags.writeable else value


def _reason(error: Exception) -> str:
    """The error's message; of PyTorch's, which advises to execute what is in the file, what it objects to."""
    refused = _REFUSED.search(str(error))
    return f"found {refused[1]}, which isn't loaded" if refused else str(error)


def count_layers(names: Iterable[str], pattern: str) -> int:
    """How many layers there are: one more than the largest index that `pattern` finds in the names."""
    matches = (re.match(pattern, name) for name in names)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


class _ArraysOnly(pickle.Unpickler):
    """Knows what numpy arrays and containers are made of, and refuses everything else."""

    _ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("_codecs", "encode"),  # how old protocols store bytes
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            *(
                (f"numpy.{core}.{module}", name)
                for module, names in _MADE_OF.items()
                for name in names
                for core in ("core", "_core")
            ),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"found {module}.{name}, which isn't loaded")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)
