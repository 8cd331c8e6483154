"""MATLAB files of format 5, such as those of SVHN. Headers are checked before any array is read."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import require_room

HEADER, FORMAT = 128, b"\x00\x01IM"
"""Bytes of a file's header, and how it ends: the version and the byte order."""
BYTES, MATRIX, COMPRESSED = 2, 14, 15
"""Types of elements."""
FLAGS = (6, 8)
"""Type and size of the first element of an array."""
CLASS, COMPLEX_OR_LOGICAL = 9, 0x0A00
"""Class and flags of an array: of unsigned bytes, and of what SciPy would turn into another type."""
NAME, AXES = 63, 32
"""Characters in a name and axes of an array, at most."""
PACKED, UNPACKED = 2**12, 2**9
"""Bytes of a compressed array that are read for its header, and the header's largest size."""


def read_mat(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Read arrays of unsigned bytes by name, with reversed axes: MATLAB stores the last axis outermost.

    Raises exceptions of many kinds for damaged files and other arrays, and MemoryError for arrays that are
    too large. Each array has as many bytes as its shape says. What follows it in its compressed element is
    unpacked as far as SciPy reads ahead: 128 KiB of the file, which unpack to 135 MB at most.
    """
    with open_regular(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if stream.read(HEADER)[-len(FORMAT) :] != FORMAT:
            raise ValueError("it is not a MATLAB file of format 5")
        _check_headers(stream, names)
        from scipy.io import loadmat

        found = loadmat(stream, variable_names=names)
    for name in names:
        if found[name].dtype != np.uint8:
            raise ValueError(f"its {name} is not an array of bytes")
    return {name: found[name].T for name in names}


def _check_headers(stream: BinaryIO, names: Collection[str]) -> None:
    """Raise ValueError for arrays that are missing, empty or not bytes, MemoryError for too large ones."""
    sizes: dict[str, int] = {}
    while len(sizes) < len(names) and (tag := stream.read(8)):
        kind, size = _unpack("<2I", tag)
        end = stream.tell() + size
        if kind == COMPRESSED:
            head = zlib.decompressobj().decompress(stream.read(min(size, PACKED)), UNPACKED)
        else:
            head = tag + stream.read(min(size, UNPACKED))
        array = _parse_header(io.BytesIO(head))
        if array.name in names and array.name not in sizes:  # SciPy reads the first of a name
            sizes[array.name] = _measure(array)
        stream.seek(end)
    for name in names:
        if name not in sizes:
            raise ValueError(f"it has no array {name}")
    require_room(sum(sizes.values()))


class _Header(NamedTuple):
    """The header of an array, and the type and the size of the values that follow it."""

    name: str
    shape: tuple[int, ...]
    flags: int
    kind: int
    size: int


def _parse_header(stream: BinaryIO) -> _Header:
    if _unpack("<2I", stream.read(8))[0] != MATRIX:
        raise ValueError("it has an element that is not an array")
    kind, size, flags, _ = _unpack("<4I", stream.read(16))
    if (kind, size) != FLAGS:
        raise ValueError("it has an array without flags")
    sizes = _read_element(stream, 4 * AXES)
    name = _read_element(stream, NAME)
    kind, size, _ = _read_tag(stream)
    shape = _unpack(f"<{len(sizes) // 4}i", sizes)
    return _Header(name.decode("latin-1"), shape, flags, kind, size)


def _measure(array: _Header) -> int:
    """Return the size of an array in bytes. Raises ValueError if its values have another size or type."""
    if array.flags & (0xFF | COMPLEX_OR_LOGICAL) != CLASS or array.kind != BYTES:
        raise ValueError(f"its {array.name} is not an array of bytes")
    if min(array.shape, default=0) < 1 or array.size != math.prod(array.shape):
        raise ValueError(f"its {array.name} has {array.size} bytes for the shape {array.shape}")
    return array.size


def _read_element(stream: BinaryIO, most: int) -> bytes:
    _, size, padding = _read_tag(stream)
    if size > most:
        raise ValueError(f"a header has {size} bytes where at most {most} belong")
    return stream.read(size + padding)[:size]


def _read_tag(stream: BinaryIO) -> tuple[int, int, int]:
    """Read the type of an element, its size, and how many bytes fill it up."""
    (word,) = _unpack("<I", stream.read(4))
    if size := word >> 16:  # a small element: its type, size and values share 8 bytes
        if size > 4:
            raise ValueError(f"a small element has {size} bytes")
        return word & 0xFFFF, size, 4 - size
    (size,) = _unpack("<I", stream.read(4))
    return word, size, -size % 8


def _unpack(layout: str, content: bytes) -> tuple[int, ...]:
    if len(content) != struct.calcsize(layout):
        raise ValueError("it ends early")
    return struct.unpack(layout, content)
