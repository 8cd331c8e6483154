"""Shards in .npy, .npz and .safetensors files."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aeframe.core.errors import UserError, shorten
from aeframe.core.regular_files import open_regular
from aeframe.data.archive import pick_member, pick_name
from aeframe.data.arrays.array import BFLOAT16
from aeframe.data.arrays.npy_header import Header, read_header
from aeframe.data.shard import AGAIN, Shard

SAFETENSORS = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "|b1"},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
"""Types of numbers in .safetensors files."""
CHUNK = 2**20  # bytes that are unpacked at once
MOST_PACKED = 1032  # largest number of bytes that DEFLATE packs into one
LOCAL_HEADER = 30  # bytes of a member's header in a zip file, before its name


@dataclass(frozen=True)
class PlainShard(Shard):
    """Rows that lie in the file one after another, after `offset` bytes."""

    offset: int = 0

    def read(self, start: int, place: np.ndarray) -> None:
        is_same = self.stored == self.dtype and place.flags.c_contiguous
        numbers = place if is_same else np.empty(place.shape, self.stored)
        with open_regular(self.path) as stream:
            stream.seek(self.offset + start * math.prod(self.shape[1:]) * self.stored.itemsize)
            if stream.readinto(numbers.reshape(-1).view(np.uint8).data) < numbers.nbytes:
                raise ValueError("it ends early")
        if not is_same:
            place[:] = numbers


@dataclass(frozen=True)
class PackedShard(Shard):
    """A compressed array of an .npz file, which is unpacked from its begin. offset: bytes before the rows."""

    member: str = ""
    offset: int = 0

    def read(self, start: int, place: np.ndarray) -> None:
        row = math.prod(self.shape[1:]) * self.stored.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
            stream.seek(self.offset + start * row)
            step = max(1, CHUNK // row)
            for part in (place[i : i + step] for i in range(0, len(place), step)):
                block = stream.read(len(part) * row)  # ends early: it cannot be reshaped
                part[:] = np.frombuffer(block, self.stored).reshape(part.shape)


def open_npy(path: Path, key: str | None, where: str) -> Shard:
    """Read the header of a .npy file."""
    with open_regular(path) as stream:
        header = read_header(stream)
        return _describe_plain(path, header, os.fstat(stream.fileno()).st_size, where)


def open_npz(path: Path, key: str | None, where: str) -> Shard:
    """Read the header of one array of an .npz file."""
    with zipfile.ZipFile(path) as archive:
        member = pick_member(archive, key, where, path.name)
        info = archive.getinfo(member)
        with archive.open(member) as stream:
            header = read_header(stream)
        plain = _describe_plain(path, header, info.file_size, where)
        if info.compress_type != zipfile.ZIP_STORED:
            require_written(header.size, info.compress_size, where)
            whole, begin = header.shape[:1], header.offset
            return PackedShard(
                path, plain.shape, plain.stored, plain.bfloat16, whole, member, begin
            )
        with open_regular(path) as stream:
            stream.seek(info.header_offset)
            lengths = struct.unpack("<HH", stream.read(LOCAL_HEADER)[-4:])
    begin = info.header_offset + LOCAL_HEADER + sum(lengths)
    return replace(plain, offset=begin + plain.offset)


def require_written(size: int, written: int, where: str) -> None:
    """Raise UserError if so many bytes cannot have been compressed to the bytes that are in the file."""
    if size > MOST_PACKED * written + CHUNK:
        what = f"claims {size:,} bytes, but only {written:,} bytes of them were written, compressed"
        raise UserError(where, what, AGAIN)


def _describe_plain(path: Path, header: Header, size: int, where: str) -> PlainShard:
    if header.dtype.kind not in "biuf":
        remedy = "Save it with a dtype of integers or floats."
        if header.dtype == np.dtype("V2"):
            remedy = f"If they are bfloat16, save {BFLOAT16}.astype('float32')."
        raise UserError(where, f"holds {shorten(header.dtype)}, not numbers", remedy)
    if size != header.size:
        what = f"has {size:,} bytes instead of the {header.size:,} of its header"
        raise UserError(where, what, AGAIN)
    if header.order == "F" and len(header.shape) > 1:
        what = "is in Fortran order, in which the numbers of a row do not lie together"
        raise UserError(where, what, "Save numpy.ascontiguousarray(x).")
    return PlainShard(path, header.shape, header.dtype, header.bfloat16, (), header.offset)


def open_safetensors(path: Path, key: str | None, where: str) -> Shard:
    """Read the header of a .safetensors file."""
    import safetensors

    with safetensors.safe_open(path, "np") as opened:  # checks header and size
        name = pick_name(list(opened.keys()), key, where, path.name)
    with open_regular(path) as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        entry = json.loads(stream.read(length))[name]
    if entry["dtype"] not in SAFETENSORS:
        remedy = "Save it as float32, float16, bfloat16 or integers."
        raise UserError(where, f"holds {entry['dtype']}", remedy)
    stored = np.dtype(SAFETENSORS[entry["dtype"]])
    begin = 8 + length + entry["data_offsets"][0]
    return PlainShard(path, tuple(entry["shape"]), stored, entry["dtype"] == "BF16", (), begin)
