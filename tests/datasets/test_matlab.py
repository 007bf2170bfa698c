"""MATLAB files: what scipy writes comes back, and damaged or hostile files are refused by name."""

import random
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from partdistillation.datasets import matlab
from partdistillation.datasets.matlab import read_structs
from partdistillation.errors import InputError


@pytest.fixture
def module(fake: Callable[[str], ModuleType]) -> ModuleType:
    return fake("pascal_part")


@pytest.fixture(params=["packed", "plain"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, module: ModuleType) -> Path:
    rows = [{**each, "parts": module.structs(each["parts"])} for each in module.annotation("2008_000002")]
    anno = module.structs([{"imname": "Zürich", "objects": module.structs(rows)}])
    path: Path = tmp_path / "a.mat"
    savemat(path, {"before": np.eye(3), "anno": anno}, do_compression=request.param == "packed")
    return path


def as_scipy_has_it(value: object) -> object:
    """What `read_structs` gives for scipy's value."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        return [{name: as_scipy_has_it(each[name]) for name in value.dtype.names} for each in value.flat]
    return value.item() if value.dtype.kind == "U" else value


def assert_same(ours: object, theirs: object) -> None:
    match theirs:
        case list():
            assert isinstance(ours, list)
            for our, their in zip(ours, theirs, strict=True):
                assert_same(our, their)
        case dict():
            assert isinstance(ours, Mapping)
            assert list(ours) == list(theirs)
            for name, value in theirs.items():
                assert_same(ours[name], value)
        case np.ndarray():
            np.testing.assert_array_equal(ours, theirs, strict=True)
        case _:
            assert ours == theirs


def test_reads_what_scipy_reads(saved: Path) -> None:
    theirs = as_scipy_has_it(loadmat(saved)["anno"])
    assert isinstance(theirs, list)
    assert len(theirs[0]["objects"]) == 3
    assert_same(read_structs(saved, "anno"), theirs)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?"])
def test_all_kinds_of_numbers(tmp_path: Path, dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    savemat(tmp_path / "a.mat", {"a": {"numbers": values}})
    (found,) = read_structs(tmp_path / "a.mat", "a")
    np.testing.assert_array_equal(found["numbers"], values)


def test_other_variables(saved: Path) -> None:
    with pytest.raises(InputError, match=r"a.mat: expected the variable 'other', found none"):
        read_structs(saved, "other")
    with pytest.raises(InputError, match=r"expected the variable 'before' as structs"):
        read_structs(saved, "before")
    with pytest.raises(InputError, match="expected a MATLAB file, found No such file"):
        read_structs(saved.with_name("b.mat"), "anno")


def test_damaged_files(saved: Path) -> None:
    """Bytes changed, or the end missing: either the file can still be read, or the error names it.

    scipy's reader ends the process in some of these cases.
    """
    whole = saved.read_bytes()
    draw = random.Random(0)
    refused = []
    for trial in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        saved.write_bytes(damaged[: draw.randrange(len(damaged))] if trial % 3 == 0 else damaged)
        try:
            read_structs(saved, "anno")
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(text.startswith(f"{saved}: expected") for text in refused)


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(of_class: int, shape: tuple[int, int], *content: bytes, name: bytes = b"") -> bytes:
    head = element(6, struct.pack("<II", of_class, 0)) + element(5, struct.pack("<ii", *shape))
    return element(14, head + element(1, name) + b"".join(content))


def structs(count: int, fields: bytes, *content: bytes, name: bytes = b"") -> bytes:
    return array(2, (1, count), element(5, struct.pack("<i", 8)), element(1, fields), *content, name=name)


def nested(depth: int) -> bytes:
    inner = array(6, (0, 0), element(9, b""))
    for _ in range(depth):
        inner = structs(1, b"field\0\0\0", inner)
    return structs(1, b"field\0\0\0", inner, name=b"anno")


def bomb(size: int) -> bytes:
    """Zeros, a thousandth of the size."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000))
    packed += packer.flush()
    return struct.pack("<II", 15, len(packed)) + packed  # the only kind without padding


def test_nested_structs(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(HEADER + nested(3))
    (found,) = read_structs(tmp_path / "a.mat", "anno")
    value: Any = found
    for _ in range(3):
        (value,) = value["field"]
    assert value["field"].shape == (0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a MATLAB file of version 5"),
        (b"<html>not found</html>" * 20, "expected a MATLAB file of version 5"),
        (HEADER, "expected the variable 'anno', found none"),
        (HEADER + struct.pack("<II", 14, 4_000_000_000), "4000000000 more bytes, found 0"),
        (HEADER + b"abc", "expected a whole MATLAB file"),
        (HEADER + element(15, b"no zlib stream"), "expected a whole MATLAB file"),
        (HEADER + element(15, zlib.compress(bytes(1_000))[:-8]), "compressed data, found its end missing"),
        (HEADER + nested(11), "structs at most 10 deep"),
        (HEADER + nested(19_000), "structs at most 10 deep"),
        (HEADER + nested(20_001), "at most 20000 arrays"),
        (HEADER + structs(2**31 - 1, b"", name=b"anno"), "at most 20000 structs, found 2147483647"),
        (HEADER + structs(5, b"field\0\0\0", name=b"anno"), "an element of kind 14, found 0"),
        (HEADER + array(1, (1, 1), name=b"anno"), "found an array of class 1"),
        (HEADER + array(6, (2**31 - 1, 2**31 - 1), element(9, bytes(8)), name=b"anno"), "cannot reshape"),
        (HEADER + array(6, (-1, 2), element(9, bytes(8)), name=b"anno"), "expected"),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_structs(path, "anno")
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "MAX_BYTES", 2_500_000)
    path = tmp_path / "a.mat"
    for packed in (bomb(3_000_000), bomb(2_000_000) * 2):
        path.write_bytes(HEADER + packed)
        with pytest.raises(InputError, match="at most 2500000 bytes, unpacked, found more"):
            read_structs(path, "anno")
    path.write_bytes(HEADER + bomb(2_000_000))
    with pytest.raises(InputError, match="the variable 'anno', found none"):
        read_structs(path, "anno")
    monkeypatch.setattr(matlab, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="expected at most 100 bytes, found"):
        read_structs(path, "anno")
