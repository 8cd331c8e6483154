"""The file format of compressed samples, `.aez`.

    header   magic, version, identity of the codec, type and shape of a sample, CRC-32
    section  kind, samples, length, CRC-32, payload; any number of sections
    end      a section with the number of all samples

Numbers are little-endian. The CRC-32 of a section continues that of the section before, or of the header.
So lost, changed, repeated and moved sections are detected. No allocation is larger than the file.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from aeframe.codec.container.file_errors import (
    ChecksumError,
    ContainerError,
    NotAnAezError,
    TruncatedError,
    UnsupportedVersionError,
)
from aeframe.core.errors import build_read_error
from aeframe.core.regular_files import open_regular

MAGIC, VERSION = b"\x89AEZ", 1
START = struct.Struct("<4sB")
FIXED = struct.Struct("<32sBB")  # identity, type, axes
SECTION = struct.Struct("<BII")  # kind, samples, length
CRC = struct.Struct("<I")
DTYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")
"""Types of samples; the header has the index."""
MOST_AXES = 3
MOST_ELEMENTS = 2**31  # of a sample
MOST_SAMPLES = 2**16  # of a section

AGAIN = "Copy it again, or compress the samples again."


class Kind(IntEnum):
    """Kind of a section."""

    END = 0
    CODED = 1  # samples as entropy-coded codes
    STORED = 2  # losslessly stored samples of the next section, each with its position there
    NAMES = 3  # of the samples of the next section


class Header(NamedTuple):
    """Header of a file, which applies to all samples.

    identity: of the codec, 32 bytes. dtype: one of DTYPES. shape: of one sample; (C, 0, 0) for images of
    different sizes.
    """

    identity: bytes
    dtype: str
    shape: tuple[int, ...]

    @property
    def sample_bytes(self) -> int:
        """The bytes of one stored sample."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Section(NamedTuple):
    """A part of a file. payload: its bytes."""

    kind: Kind
    samples: int
    payload: bytes


class Writer:
    """Writer of sections into an open file; `end` completes it."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        axes = struct.pack(f"<{len(header.shape)}I", *header.shape)
        kind = DTYPES.index(header.dtype)
        data = FIXED.pack(header.identity, kind, len(header.shape)) + axes
        data = START.pack(MAGIC, VERSION) + data
        self.file, self.crc, self.samples = file, zlib.crc32(data), 0
        file.write(data + CRC.pack(self.crc))

    def write_section(self, kind: Kind, samples: int, payload: bytes) -> None:
        """Write a section. samples: for a coded one, all samples of its part."""
        head = SECTION.pack(kind, samples, len(payload))
        self.crc = zlib.crc32(payload, zlib.crc32(head, self.crc))
        self.file.write(head + CRC.pack(self.crc) + payload)
        self.samples += samples if kind is Kind.CODED else 0

    def write_end(self) -> None:
        """Write the end. A file without it was truncated."""
        self.write_section(Kind.END, 0, struct.pack("<Q", self.samples))


@dataclass
class Reader:
    """Reader of a file, section by section. Each is checked before it is returned.

    Raises ContainerError.
    """

    path: Path

    def __post_init__(self) -> None:
        try:
            with open_regular(self.path) as file:
                self.size = file.seek(0, 2)
                file.seek(0)
                self.header, self._first = self._read_header(file)
                self._begin = file.tell()
        except OSError as error:
            raise build_read_error(str(self.path), error, AGAIN) from error

    def read_sections(self) -> Iterator[Section]:
        """Iterate over the sections, without the end."""
        crc, samples = self._first, 0
        with open_regular(self.path) as file:
            file.seek(self._begin)
            for number in range(1, self.size):
                section, crc = self._read_section(file, crc, number)
                if section.kind is Kind.END:
                    self._check_end(file, section, samples)
                    return
                samples += section.samples if section.kind is Kind.CODED else 0
                yield section

    def _read_header(self, file: BinaryIO) -> tuple[Header, int]:
        start = file.read(START.size)
        if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
            raise NotAnAezError(
                self.path, "is not an .aez file", "Name a file that aeframe compressed."
            )
        data = start + self._read(file, START.size - len(start), "its header")
        if data[-1] != VERSION:
            what = f"has version {data[-1]} of the format, but this aeframe reads {VERSION}"
            raise UnsupportedVersionError(
                self.path, what, "Use the version of aeframe that wrote it."
            )
        fixed = self._read(file, FIXED.size, "its header")
        identity, kind, axes = FIXED.unpack(fixed)
        axes_data = self._read(file, 4 * min(axes, MOST_AXES), "its header")
        (crc,) = CRC.unpack(self._read(file, CRC.size, "its header"))
        if zlib.crc32(data + fixed + axes_data) != crc:
            raise ChecksumError(self.path, "is damaged in its header", AGAIN)
        shape = struct.unpack(f"<{len(axes_data) // 4}I", axes_data)
        fixed_size = shape[:1] if shape[1:] == (0, 0) else shape
        if kind >= len(DTYPES) or not 1 <= axes <= MOST_AXES or 0 in fixed_size:
            raise ContainerError(self.path, "has a header that makes no sense", AGAIN)
        if math.prod(shape) > MOST_ELEMENTS:
            raise ContainerError(self.path, "claims samples that are too large", AGAIN)
        return Header(identity, DTYPES[kind], shape), crc

    def _read_section(self, file: BinaryIO, crc: int, number: int) -> tuple[Section, int]:
        where = f"section {number}"
        head = self._read(file, SECTION.size, where)
        (expected,) = CRC.unpack(self._read(file, CRC.size, where))
        kind, samples, length = SECTION.unpack(head)
        payload = self._read(file, length, where)
        crc = zlib.crc32(payload, zlib.crc32(head, crc))
        if crc != expected:
            raise ChecksumError(self.path, f"is damaged in {where}", AGAIN)
        if kind not in iter(Kind) or samples > MOST_SAMPLES:
            raise ContainerError(self.path, f"has a {where} that makes no sense", AGAIN)
        return Section(Kind(kind), samples, payload), crc

    def _check_end(self, file: BinaryIO, section: Section, samples: int) -> None:
        if section.payload != struct.pack("<Q", samples) or section.samples:
            raise ContainerError(self.path, "has a wrong number of samples", AGAIN)
        if file.read(1):
            raise ContainerError(self.path, "has trailing bytes", AGAIN)

    def _read(self, file: BinaryIO, length: int, where: str) -> bytes:
        """Read bytes. A length beyond the file is a flipped bit or a truncated file."""
        left = self.size - file.tell()
        if length > left:
            what = f"ends in {where}: {length} bytes are expected, and {left} are left"
            raise TruncatedError(self.path, what, AGAIN)
        return file.read(length)
