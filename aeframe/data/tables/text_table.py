"""Tables of text, .csv and .tsv: the command that converts one to .npy."""

from __future__ import annotations

import csv
import shlex
from contextlib import suppress
from itertools import islice
from pathlib import Path

ENDINGS = (".csv", ".tsv")
LONGEST = 1 << 20
"""Characters that are read of a file of unknown content."""


def write_conversion(file: Path) -> str:
    """Write the command that saves the columns of numbers of a table as .npy beside it."""
    lines = list[str]()
    with suppress(OSError, UnicodeDecodeError), file.open(encoding="utf-8") as opened:
        lines = [
            line.rstrip("\n") for line in islice(iter(lambda: opened.readline(LONGEST), ""), 2)
        ]
    sign = max(",;\t", key=(lines or [""])[-1].count)
    rows = list(csv.reader(lines, delimiter=sign))
    numbers = [i for i, cell in enumerate(rows[-1]) if _is_number(cell)] if rows else []
    header = bool(rows) and not all(_is_number(rows[0][i]) for i in numbers if i < len(rows[0]))
    words = [repr(str(file)), f"delimiter={sign!r}", "dtype='float32'"]
    words += ["skiprows=1"] * header + _write_columns(numbers, len(rows[-1]) if rows else 0)
    made = repr(str(name_array(file)))
    code = f"import numpy as np; np.save({made}, np.loadtxt({', '.join(words)}))"
    return f"python -c {shlex.quote(code) if chr(34) in code or '$' in code else chr(34) + code + chr(34)}"


def name_array(file: Path) -> Path:
    """Name the .npy file beside a table, so that it replaces none."""
    usual = file.with_suffix(".npy")
    return file.with_name(f"{file.stem}_table.npy") if usual.exists() else usual


def _write_columns(numbers: list[int], count: int) -> list[str]:
    """Write the argument that selects the columns of numbers, if not all columns are."""
    if not numbers or len(numbers) == count:
        return []
    first, last = numbers[0], numbers[-1]
    if numbers == list(range(first, last + 1)):
        return [f"usecols=range({first}, {last + 1})"]
    return [f"usecols={numbers}"]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
