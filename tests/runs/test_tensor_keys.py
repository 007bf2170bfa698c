from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from partdistillation.runs.tensor_keys import key_of, name_of

RESERVED = ("__metadata__", "__metadata__'", "__metadata__''")


@pytest.mark.parametrize("name", ["car", "", "__metadata__x", "x'", "__metadata", "'"])
def test_ordinary_names_are_their_keys(name: str) -> None:
    assert key_of(name) == name == name_of(name)


def test_reserved_names_come_back(tmp_path: Path) -> None:
    names = (*RESERVED, "car")
    save_file({key_of(name): np.full(1, i) for i, name in enumerate(names)}, tmp_path / "a.safetensors")
    rows = {name_of(key): int(row[0]) for key, row in load_file(tmp_path / "a.safetensors").items()}
    assert rows == {name: i for i, name in enumerate(names)}
