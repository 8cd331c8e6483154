"""MATLAB's format 5, in which SVHN comes: named arrays, here of bytes, compressed or not."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import filled

COMPRESSED, MATRIX, UINT8 = 15, 14, 2  # types of parts
CLASS = 9  # of an array of bytes
HEADER, FORMAT = 128, b"\x00\x01IM"  # bytes before the parts, and how they end: version, byte order
BLOCK = 2**16  # bytes that are decompressed at once
NAME = 63  # characters, MATLAB's limit
AXES = 32


def read_mat(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names, their axes in reverse: MATLAB stores the last one outermost.

    Raises OSError, ValueError or zlib.error for a file that is damaged or holds something else.
    """
    found: dict[str, np.ndarray] = {}
    with open_regular(path) as stream:
        if stream.read(HEADER)[-len(FORMAT) :] != FORMAT:
            raise ValueError("it is no MATLAB file of format 5")
        while len(found) < len(names):
            kind, size, _ = _tag(stream)
            end = stream.tell() + size
            if kind == COMPRESSED:
                unpacked = io.BufferedReader(_Unpacked(stream, size), BLOCK)
                if _tag(unpacked)[0] == MATRIX:
                    found |= _matrix(unpacked, names)
            elif kind == MATRIX:
                found |= _matrix(stream, names)
            stream.seek(end)
    return found


def _matrix(stream: IO[bytes] | io.BufferedReader, names: Collection[str]) -> dict[str, np.ndarray]:
    """The array by its name, if it is one of these."""
    flags, sizes, label = (_part(stream, most) for most in (8, 4 * AXES, NAME))
    name, shape = label.decode("latin-1"), np.frombuffer(sizes, "<i4").tolist()[::-1]
    if name not in names:
        return {}
    kind, size, _ = _tag(stream)
    if flags[:1] != bytes((CLASS,)) or kind != UINT8:
        raise ValueError(f"its {name} is no array of bytes")
    if min(shape, default=0) < 1 or size != math.prod(shape):
        raise ValueError(f"its {name} has {size} bytes for the shape {shape}")
    array = filled(stream, tuple(shape))
    stream.read(8)  # less is left; at its end a compressed part compares its checksum
    return {name: array}


def _tag(stream: IO[bytes] | io.BufferedReader) -> tuple[int, int, int]:
    """The type of the part that follows, its bytes, and how many more fill it up."""
    (word,) = struct.unpack("<I", _exactly(stream, 4))
    if small := word >> 16:
        return word & 0xFFFF, small, max(0, 4 - small)
    (size,) = struct.unpack("<I", _exactly(stream, 4))
    return word, size, -size % 8


def _part(stream: IO[bytes] | io.BufferedReader, most: int) -> bytes:
    _, size, padding = _tag(stream)
    if size > most:
        raise ValueError(f"it has {size} bytes where at most {most} belong")
    return _exactly(stream, size + padding)[:size]


def _exactly(stream: IO[bytes] | io.BufferedReader, size: int) -> bytes:
    if len(found := stream.read(size)) < size:
        raise ValueError("it ends early")
    return found


class _Unpacked(io.RawIOBase):
    """What a compressed part of a file holds, as it is read."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left, self._unpack = stream, size, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpack.eof:
            packed = self._unpack.unconsumed_tail or self._stream.read(min(BLOCK, self._left))
            self._left -= 0 if self._unpack.unconsumed_tail else len(packed)
            found = self._unpack.decompress(packed, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)
            if not packed:
                raise ValueError("it ends early")
        return 0
