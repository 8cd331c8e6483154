"""A file of compressed samples: what was written is read, and all else has a name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeframe.codec.container.file_errors import (
    ContainerError,
    NotAnAezError,
    UnsupportedVersionError,
)
from aeframe.codec.container.format import (
    CRC,
    SECTION,
    START,
    Header,
    Kind,
    Reader,
    Section,
    Writer,
)
from aeframe.codec.entropy.rans import TOTAL
from aeframe.codec.entropy.tables import Tables

HEADER = Header(bytes(range(32)), "uint8", (1, 28, 28))
SECTIONS = (
    Section(Kind.NAMES, 2, b"names"),
    Section(Kind.STORED, 1, b"as they are"),
    Section(Kind.CODED, 2, b"codes of two"),
    Section(Kind.CODED, 3, b""),
)


def written(file: Path, header: Header = HEADER) -> bytes:
    with file.open("wb") as stream:
        writer = Writer(stream, header)
        for section in SECTIONS:
            writer.write_section(*section)
        writer.write_end()
    return file.read_bytes()


def read(file: Path) -> list[Section]:
    return list(Reader(file).read_sections())


def sealed(*parts: bytes) -> bytes:
    """A file whose checksums are right, whatever it says: first the header, then heads and payloads."""
    crc = zlib.crc32(parts[0])
    data = parts[0] + CRC.pack(crc)
    for head, payload in zip(parts[1::2], parts[2::2], strict=True):
        crc = zlib.crc32(payload, zlib.crc32(head, crc))
        data += head + CRC.pack(crc) + payload
    return data


@pytest.mark.parametrize(
    "header", [HEADER, Header(b"i" * 32, "float32", (5,)), Header(b"j" * 32, "int16", (3, 2, 9))]
)
def test_written_sections_are_read(tmp_path: Path, header: Header) -> None:
    written(tmp_path / "x.aez", header)
    assert Reader(tmp_path / "x.aez").header == header
    assert read(tmp_path / "x.aez") == list(SECTIONS)


def test_every_flipped_byte_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    whole = written(file)
    for i in range(len(whole)):
        for flip in (1, 0x80, 0xFF):
            file.write_bytes(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])
            with pytest.raises(ContainerError, match=str(file)):
                read(file)


def test_every_cut_is_told_and_so_is_what_follows_the_end(tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    whole = written(file)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ContainerError):
            read(file)
    file.write_bytes(whole + b"\0")
    with pytest.raises(ContainerError, match="has trailing bytes"):
        read(file)


def test_sections_that_were_moved_or_lost_are_told(tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    whole = written(file)
    size = SECTION.size + CRC.size
    begin = len(whole) - size - 8 - size - (size + len(SECTIONS[2].payload))
    third, fourth = (
        whole[begin : begin + size + 12],
        whole[begin + size + 12 : begin + 2 * size + 12],
    )
    end = whole[begin + 2 * size + 12 :]
    for other in (fourth + third, third, fourth, third * 2):
        file.write_bytes(whole[:begin] + other + end)
        with pytest.raises(ContainerError, match="damaged"):
            read(file)


def test_other_files_and_other_versions_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    for other in (b"", b"\x89PNG\r\n", b"AEZ"):
        file.write_bytes(other)
        with pytest.raises(NotAnAezError):
            Reader(file)
    file.write_bytes(START.pack(b"\x89AEZ", 9) + bytes(100))
    with pytest.raises(UnsupportedVersionError, match="version 9"):
        Reader(file)


FIRST = START.pack(b"\x89AEZ", 1) + b"i" * 32
GOOD = FIRST + struct.pack("<BB3I", 0, 3, 1, 2, 2)
END = (SECTION.pack(0, 0, 8), bytes(8))


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ((FIRST + struct.pack("<BB1I", 99, 1, 5), *END), "no sense"),
        ((FIRST + struct.pack("<BB", 0, 0), *END), "no sense"),
        ((FIRST + struct.pack("<BB3I", 0, 4, 1, 1, 1), *END), "no sense"),
        ((FIRST + struct.pack("<BB3I", 0, 3, 1, 0, 1), *END), "no sense"),
        ((FIRST + struct.pack("<BB3I", 0, 3, 2**31, 2**31, 9), *END), "too large"),
        ((GOOD, SECTION.pack(77, 0, 0), b"", *END), "no sense"),
        ((GOOD, SECTION.pack(1, 2**32 - 1, 0), b"", *END), "no sense"),
        ((GOOD, SECTION.pack(1, 1, 2**32 - 1), b"", *END), "ends in section 1"),
        ((GOOD, SECTION.pack(1, 5, 0), b"", *END), "has a wrong number of samples"),
        ((GOOD, SECTION.pack(0, 1, 8), bytes(8)), "has a wrong number of samples"),
        ((GOOD, SECTION.pack(0, 0, 0), b""), "has a wrong number of samples"),
        ((GOOD,), "ends in section 1"),
    ],
)
def test_claims_that_make_no_sense_are_told(
    tmp_path: Path, parts: tuple[bytes, ...], what: str
) -> None:
    file = tmp_path / "x.aez"
    file.write_bytes(sealed(*parts))
    with pytest.raises(ContainerError, match=what):
        read(file)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_file(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    file = tmp_path_factory.mktemp("random") / "x.aez"
    file.write_bytes(GOOD + tail)
    with pytest.raises(ContainerError):
        read(file)


def golden_tables() -> Tables:
    """Three units in two clusters, of whole numbers that no machine rounds."""
    common = np.array([[9000, 2, 0], [1000, 60000, 0], [5, 5, 5]])
    units = np.stack([common, np.array([[1, 20000, 0], [7, 7, 0], [700, 1, 3]])])
    occurs = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1]])
    rest = TOTAL - 4 - units.sum(2)
    rows = np.concatenate([np.full((2, 3, 1), 4), units * occurs], axis=2)
    rows[:, :, 1] += rest
    return Tables(
        np.array([-1, 5, 0], np.int32), rows.astype(np.uint16), np.array([65000, 536], np.int32)
    )


def golden_codes() -> np.ndarray:
    """500 samples; every 50th has a number that the tables do not know."""
    i = np.arange(500)
    codes = np.stack([-1 + (i % 7 == 0), 5 + (i % 3 == 0), i % 11 % 3], axis=1).astype(np.int32)
    codes[::50, 1] = -1234567
    return codes


def test_a_file_that_was_written_once_is_read_for_ever() -> None:
    file = Path(__file__).with_name("golden.aez")
    assert Reader(file).header == HEADER
    names, coded = Reader(file).read_sections()
    assert (names.kind, names.samples, names.payload) == (Kind.NAMES, 1, b"as it was")
    assert np.array_equal(golden_tables().decode(coded.payload, coded.samples), golden_codes())
    assert golden_tables().encode(golden_codes()) == coded.payload


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No such file"):
        Reader(tmp_path / "none.aez")
