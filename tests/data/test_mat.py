"""MATLAB files whose headers are wrong: nothing else of them is unpacked."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest

from aeframe.data.builtin.mat import read_mat

START = bytes(124) + b"\x00\x01IM"  # of a file


def element(kind: int, content: bytes, size: int | None = None) -> bytes:
    return (
        struct.pack("<2I", kind, len(content) if size is None else size)
        + content
        + bytes(-len(content) % 8)
    )


def matrix(
    *, flags: int = 9, kind: int = 2, size: int = 1, name: bytes = b"X", sizes: bytes | None = None
) -> bytes:
    """Write the header of an array of one byte, and the tag of its values."""
    shape = struct.pack("<2i", 1, 1) if sizes is None else sizes
    parts = element(6, struct.pack("<2I", flags, 0)) + element(5, shape) + element(1, name)
    return element(14, parts + struct.pack("<2I", kind, size), len(parts) + 8 + size)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (matrix(size=2**30), r"its X has 1073741824 bytes for the shape \(1, 1\)"),
        (matrix(kind=9), "its X is not an array of bytes"),
        (matrix(flags=9 | 0x800), "its X is not an array of bytes"),
        (matrix(flags=9 | 0x200), "its X is not an array of bytes"),
        (matrix(name=bytes(64)), "a header has 64 bytes where at most 63 belong"),
        (matrix(sizes=bytes(132)), "a header has 132 bytes where at most 128 belong"),
        (element(14, element(6, bytes(16))), "it has an array without flags"),
        (element(14, matrix()[8:24] + struct.pack("<2I", 5 | 5 << 16, 0)), "has 5 bytes"),
        (element(1, bytes(100)), "it has an element that is not an array"),
        (element(14, b""), "it ends early|an array without flags"),
    ],
)
def test_a_mat_file_with_a_wrong_header_is_refused_before_its_values_are_unpacked(
    tmp_path: Path, packed: bool, wrong: bytes, reason: str
) -> None:
    file = tmp_path / "train_32x32.mat"
    part = wrong
    if packed:
        pack = zlib.compressobj(1)
        block = bytes(2**20)
        content = pack.compress(wrong) + b"".join(pack.compress(block) for _ in range(64))
        part = element(15, content + pack.flush())
    file.write_bytes(START + part)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=reason):
            read_mat(file, ("X", "y"))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
