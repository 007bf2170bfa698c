"""Reading checkpoints: arrays and tensors come through, anything else is refused and not executed."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partdistillation.convert.checkpoint_file import read_checkpoint
from partdistillation.errors import CheckpointError


class Command:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["model.pth", "model.pkl"])
def test_nothing_is_executed(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    content = {"model": {"weight": np.zeros(1), "evil": Command(tmp_path / "executed")}}
    if name.endswith(".pth"):
        torch.save(content, stream)
    else:
        pickle.dump(content, stream)
    (tmp_path / name).write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError, match=r"by name; found (posix|nt)\.system, which isn't loaded$"):
        read_checkpoint(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int, dtype: Any) -> None:
    arrays = {"c": np.arange(6, dtype=dtype).reshape(2, 3), "f": np.asfortranarray(np.eye(2, 3, dtype=dtype))}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    found = read_checkpoint(tmp_path / "a.pkl")
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)


def test_arrays_that_must_not_be_written(tmp_path: Path) -> None:
    array = np.ones(2)
    array.flags.writeable = False
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array}, protocol=5))
    assert torch.as_tensor(read_checkpoint(tmp_path / "a.pkl")["a"]).tolist() == [1, 1]


def test_what_training_leaves_beside_the_weights(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2), "b": np.arange(3.0, dtype=np.float32)}
    content = {"model": weights, "iteration": 7, "scheduler": {"_last_lr": [np.float64(1e-4)]}}
    torch.save(content, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert found.keys() == weights.keys()
    np.testing.assert_array_equal(found["b"], weights["b"])


@pytest.mark.parametrize("protocol", [2, 5])
def test_names_of_numpy_1(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": np.arange(6.0)}, protocol=protocol)
    module, older = (b"numpy.%s.numeric" % core for core in (b"_core", b"core"))
    if protocol == 5:  # the name's length stands before it, and that of the whole in a frame
        content = content[:2] + content[11:].replace(b"\x8c\x13" + module, b"\x8c\x12" + older)
    content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core." in content
    (tmp_path / "a.pkl").write_bytes(content)
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a.pkl")["a"], np.arange(6.0))


def test_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"not a pickle")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"model": [1, 2]}))
    for name in ("a.pkl", "b.pkl", "missing.pth", "missing.pkl"):
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(tmp_path / name)
