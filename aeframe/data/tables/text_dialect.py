"""How a table of text is written: its encoding, its delimiter, and the names in its first line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from aeframe.core.errors import UserError, build_read_error
from aeframe.core.regular_files import open_regular, require_regular
from aeframe.core.repeated import require_unique
from aeframe.data.table_cells import NUMBER

BLOCK = 2**22  # bytes that are read at once
HEAD = 2**18  # characters in which the delimiter is looked for
SIGNS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
Delimiter = Literal["auto", "comma", "semicolon", "tab", "pipe"]
WORDS = {sign: word for word, sign in SIGNS.items()}
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
WESTERN = ("cp1252", "latin-1")  # the second knows every byte
DAMAGED = "Take an undamaged copy of the file."


@dataclass(frozen=True)
class Dialect:
    """How a file is written. names: of its columns, "" where none is written. has_header: whether the first
    line holds them, else they are numbers from 1. is_guessed: whether the encoding is a guess.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    has_quotes: bool
    is_guessed: bool


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file, unpacked if it is compressed by gzip."""
    if file.suffix.lower() != ".gz":
        return open_regular(file)
    require_regular(file)
    return gzip.open(file)  # type: ignore[return-value]


def find_dialect(file: Path, where: str, encoding: str, delimiter: Delimiter) -> Dialect:
    """Read the bytes of a file once, and find how it is written. Raises UserError."""
    try:
        found, has_quotes = _scan(file, where, encoding)
    except (OSError, EOFError) as error:
        raise build_read_error(where, error, DAMAGED) from error
    is_guessed = encoding == "auto" and found in WESTERN
    with open_text(file, found) as opened:
        head = opened.read(HEAD)
        is_whole = not opened.read(1)
    if not head.strip():
        raise UserError(where, "is empty", "Give a table with a line of names and at least 3 rows.")
    seen = _find_delimiter(head, file, is_whole=is_whole)
    sign = SIGNS.get(delimiter, seen)
    records = _read_records(head, sign, is_whole=is_whole)
    first = records[0] if records else []
    if sign not in head and seen in head:
        what, remedy = f"holds no {delimiter}", f"Write dataset.delimiter={WORDS[seen]}."
        raise UserError(where, what, remedy)
    names = tuple(name.strip() for name in first)
    has_header = not all(re.match(NUMBER, name) for name in names)
    if not has_header:
        names = tuple(map(str, range(1, len(names) + 1)))
    require_unique(names, where)
    return Dialect(found, sign, names, has_header, has_quotes, is_guessed)


def open_text(file: Path, encoding: str) -> io.TextIOWrapper:
    """Open a table of text, without a byte-order mark."""
    name = "utf-8-sig" if encoding.replace("_", "-").lower() in ("utf-8", "utf8") else encoding
    return io.TextIOWrapper(open_bytes(file), name, newline="")


def _scan(file: Path, where: str, encoding: str) -> tuple[str, bool]:
    """Find the encoding, and whether there are quotes. Raises UserError for bytes of no text."""
    names = [encoding]
    if encoding == "auto":
        with open_bytes(file) as opened:
            start = opened.read(BLOCK)
        marked = [name for mark, name in BOMS.items() if start.startswith(mark)]
        names = marked or _find_utf_16(start) or ["utf-8", *WESTERN]
    else:
        _require_encoding(encoding)
    for name in names:
        line, has_quotes = _decode(file, where, name)
        if line is None:
            return name, has_quotes
    remedy = DAMAGED if encoding == "auto" else "Write dataset.encoding=auto."
    raise UserError(where, f"line {line} is not text in {name}", remedy)


def _decode(file: Path, where: str, encoding: str) -> tuple[int | None, bool]:
    """Decode a file: the first line that is not text in this encoding, and whether there are quotes.

    Raises UserError for NUL bytes.
    """
    decoder, has_quotes, lines = codecs.getincrementaldecoder(encoding)(), False, 1
    with open_bytes(file) as opened:
        while block := opened.read(BLOCK):
            if b"\0" in block and not encoding.lower().startswith(("utf-16", "utf_16", "utf16")):
                line = lines + block[: block.index(b"\0")].count(b"\n")
                what = f"line {line} holds a NUL byte, which no table of text has"
                raise UserError(where, what, "Save it again as text (UTF-8), or as Parquet.")
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return lines + block[: error.start].count(b"\n"), has_quotes
            has_quotes |= b'"' in block
            lines += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return lines, has_quotes
    return None, has_quotes


def _require_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError:
        remedy = "Write auto, utf-8, utf-16, latin-1 or another encoding of Python."
        raise UserError(f"dataset.encoding={name}", "unknown encoding", remedy) from None


def _find_utf_16(start: bytes) -> list[str]:
    """Recognize UTF-16 without a mark by its zeros: every second byte of Western texts."""
    pairs = start[: 2 * (len(start[:4096]) // 2)][:4096]
    for name, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros, others = pairs[first::2], pairs[1 - first :: 2]
        if len(zeros) > 1 and zeros.count(0) > 0.7 * len(zeros) and not others.count(0):
            return [name]
    return []


def _find_delimiter(head: str, file: Path, *, is_whole: bool) -> str:
    """Find the delimiter under which most lines have as many cells as the first one."""
    name = file.name.lower().removesuffix(".gz")
    signs = ["\t", ",", ";", "|"] if name.endswith((".tsv", ".tab")) else [",", ";", "\t", "|"]
    best, chosen = (0.0, 0), signs[0]
    for sign in signs:
        counts = [len(record) for record in _read_records(head, sign, is_whole=is_whole)]
        if len(counts) < 1 or counts[0] < 2:
            continue
        alike = sum(count == counts[0] for count in counts) / len(counts)
        if (alike, counts[0]) > best:
            best, chosen = (alike, counts[0]), sign
    return chosen


def _read_records(head: str, sign: str, *, is_whole: bool) -> list[list[str]]:
    """Read the records at the beginning of a file, without one that is cut."""
    records = [record for _, record in read_records(io.StringIO(head, newline=""), sign)]
    return records if is_whole or len(records) < 2 else records[:-1]


def read_records(lines: IO[str], sign: str) -> Iterator[tuple[int, list[str]]]:
    """Read records with their first lines (from 1); empty lines are none. It ends at a mistake of quoting."""
    reader, line = csv.reader(lines, delimiter=sign), 0
    try:
        for record in reader:
            if record:
                yield line + 1, record
            line = reader.line_num
    except csv.Error:  # a cell of more than 128 KiB: quotes that do not end
        return
