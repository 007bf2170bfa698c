"""Structs in MATLAB's files (.mat, version 5): text, numbers and structs of them, as data sets use them.

The format is described in https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. scipy reads all
of it, but a file with a few wrong bytes may end the process (segmentation faults with scipy 1.17), and so may
arrays that are nested too deep. Here every size is checked before it is used.

All functions but `read_structs` raise `InputError` without the file's path, which their caller adds.
"""

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from partdistillation.errors import InputError

MAX_BYTES = 512_000_000
"""Of a file, unpacked: 2,000 masks of 500 x 500 pixels."""
MAX_ARRAYS = 20_000
"""In a file; every field of a struct is one."""

_HEADER = 128
_MAX_DEPTH = 10
_MATRIX, _COMPRESSED = 14, 15  # kinds of elements
_STRUCT, _CHAR, _NUMBERS = 2, 4, range(6, 16)  # classes of arrays
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
_TYPES = {
    1: "<i1",
    2: "<u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}

Struct = Mapping[str, object]
"""By field: text, an array of numbers, or a list of structs."""
_Elements = Iterator[tuple[int, memoryview]]


def read_structs(path: Path, name: str) -> list[Struct]:
    """The structs in an array, which is a variable of a file.

    Raises:
        InputError: the file can't be read, is no such file, damaged or larger than the bounds, doesn't have
            the variable, or that isn't of structs.
    """
    try:
        return structs(_variable(path, name), (), f"the variable {name!r}")
    except InputError as error:
        raise InputError(f"{path}: {error}: get the file again") from error
    except OSError as error:
        raise InputError(f"{path}: expected a MATLAB file, found {error.strerror}; check the path") from error
    except (ValueError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise InputError(
            f"{path}: expected a whole MATLAB file, found damaged data ({error!r}): get the file again"
        ) from error


def structs(value: object, fields: Collection[str], what: str) -> list[Struct]:
    """A field that holds structs; none where it is empty, whatever it would hold.

    Raises:
        InputError: it holds something else, or the structs lack fields.
    """
    match value:
        case []:
            return []
        case [Mapping() as first, *_] if set(fields) <= set(first):
            return [struct for struct in value if isinstance(struct, Mapping)]
        case [Mapping() as first, *_]:
            content = f"those with {', '.join(first)}"
        case np.ndarray(size=0):
            return []
        case _:
            content = type(value).__name__
    raise InputError(f"expected {what} as structs with the fields {', '.join(fields)}, found {content}")


def text(value: object, what: str) -> str:
    """A field that holds text. Raises InputError for anything else, and for none that can be read."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError(f"expected {what}, found {value!r:.80}")
    return value


def mask(value: object, height: int, width: int, what: str) -> Bool[np.ndarray, "{height} {width}"]:
    """A field that holds numbers, as a mask: all but 0 are True.

    Raises:
        InputError: it has another size, or isn't of numbers.
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"expected {what} as numbers, found {type(value).__name__}")
    if value.shape != (height, width):
        size = " x ".join(map(str, value.shape[::-1]))
        raise InputError(f"expected {what} of the image's size, {width} x {height}, found {size}")
    out: Bool[np.ndarray, "{height} {width}"] = value != 0
    return out


def _variable(path: Path, name: str) -> object:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"expected at most {MAX_BYTES} bytes, found {path.stat().st_size}")
    for content in _variables(path.read_bytes()):
        if _name(content) == name:
            return _array(content)
    raise InputError(f"expected the variable {name!r}, found none")


def _variables(file: bytes) -> Iterator[memoryview]:
    """The content of each variable of a file."""
    if file[124:_HEADER] != b"\x00\x01IM":
        raise InputError("expected a MATLAB file of version 5, found another header")
    rest, room = memoryview(file)[_HEADER:], MAX_BYTES
    while rest:
        kind, size = struct.unpack_from("<II", rest)
        if size > len(rest) - 8:
            raise InputError(f"expected {size} more bytes, found {len(rest) - 8}")
        element = _decompressed(rest[8 : 8 + size], room) if kind == _COMPRESSED else bytes(rest[: 8 + size])
        room -= len(element)
        if element.count(struct.pack("<I", _MATRIX)) > MAX_ARRAYS:
            raise InputError(f"expected at most {MAX_ARRAYS} arrays, found more")
        yield from (content for kind, content in _elements(memoryview(element)) if kind == _MATRIX)
        rest = rest[8 + size :]


def _decompressed(content: memoryview, room: int) -> bytes:
    unpack = zlib.decompressobj()
    element = unpack.decompress(content, max(room, 1))
    if not unpack.eof and unpack.decompress(unpack.unconsumed_tail, 1):
        raise InputError(f"expected at most {MAX_BYTES} bytes, unpacked, found more")
    if not unpack.eof:
        raise InputError("expected whole compressed data, found its end missing")
    return element


def _elements(data: memoryview) -> _Elements:
    """The elements that follow each other: kind and content."""
    while data:
        kind, size = struct.unpack_from("<II", data)
        start = 8
        if kind >> 16:  # a short one: its size in the upper half, its content where the size would be
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
        if size > (4 if start == 4 else len(data) - start):
            raise InputError(f"expected an element of {size} bytes, found its end missing")
        yield kind, data[start : start + size]
        data = data[8 if start == 4 else start + size + -size % 8 :]


def _next(elements: _Elements, *kinds: int) -> memoryview:
    """The content of the next element, which has to be of one of these kinds."""
    kind, content = next(elements, (0, memoryview(b"")))
    if kind not in kinds:
        raise InputError(f"expected an element of kind {' or '.join(map(str, kinds))}, found {kind}")
    return content


def _name(content: memoryview) -> str:
    elements = _elements(content)
    _next(elements, 6)
    _next(elements, 5)
    return bytes(_next(elements, 1)).decode("ascii")


def _array(content: memoryview, depth: int = 0) -> object:
    """An array's value: text, numbers, or a list of structs."""
    if not content:
        return np.empty((0, 0))
    if depth > _MAX_DEPTH:
        raise InputError(f"expected structs at most {_MAX_DEPTH} deep, found deeper ones")
    elements = _elements(content)
    of_class = _next(elements, 6)[0]
    shape = np.frombuffer(_next(elements, 5), "<i4").tolist()
    _next(elements, 1)  # the name
    if of_class == _STRUCT:
        return _structs(elements, prod(shape), depth)
    if of_class != _CHAR and of_class not in _NUMBERS:
        raise InputError(f"expected text, numbers and structs, found an array of class {of_class}")
    kind, values = next(elements, (0, memoryview(b"")))
    if of_class == _CHAR:
        return bytes(values).decode(_ENCODINGS[kind])
    return np.frombuffer(values, _TYPES[kind]).reshape(shape, order="F")


def _structs(elements: _Elements, count: int, depth: int) -> list[Struct]:
    (length,) = struct.unpack("<i", _next(elements, 5))
    names = bytes(_next(elements, 1))
    fields = [names[at : at + length].split(b"\0")[0].decode("ascii") for at in range(0, len(names), length)]
    if count > MAX_ARRAYS:  # without fields, nothing else would stop it
        raise InputError(f"expected at most {MAX_ARRAYS} structs, found {count}")
    return [
        {field: _array(_next(elements, _MATRIX), depth + 1) for field in fields} for _ in range(max(count, 0))
    ]
