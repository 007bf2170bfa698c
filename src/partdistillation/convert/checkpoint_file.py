"""Reading other code's checkpoints: `.pth` and `.pkl` files, of which nothing is executed."""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partdistillation.errors import CheckpointError


def read_checkpoint(path: Path) -> dict[str, Tensor | np.ndarray]:
    """The weights in a `.pth` or `.pkl` file, by name, without executing anything that is in it."""
    try:
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                content = _ArraysOnly(file).load()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}.") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: expected arrays or tensors by name; {error}") from error
    if isinstance(content, Mapping):
        content = content.get("model", content)
    weights = (Tensor, np.ndarray)
    if not isinstance(content, Mapping) or not all(isinstance(value, weights) for value in content.values()):
        raise CheckpointError(f"{path}: expected arrays or tensors by name, found {type(content).__name__}.")
    return dict(content)


def count_layers(names: Iterable[str], pattern: str) -> int:
    """How many layers there are: one more than the largest index that `pattern` finds in the names."""
    found = (re.match(pattern, name) for name in names)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


class _ArraysOnly(pickle.Unpickler):
    """Knows what numpy arrays and containers are made of, and refuses everything else."""

    _ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("_codecs", "encode"),  # how old protocols store bytes
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.numeric", "_frombuffer"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"found {module}.{name}, which isn't loaded")
        if module == "numpy.core.multiarray":  # numpy 1's name
            module = "numpy._core.multiarray"
        return super().find_class(module, name)
