"""Files of a table: one, a list, or a pattern, with the same columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from aeframe.core.errors import ConfigError, Problem, UserError, shorten
from aeframe.data.table_cells import require_tables
from aeframe.data.table_schema import LISTED
from aeframe.data.tables.table_file import TableFile, open_table
from aeframe.data.tables.table_looks import Decimal
from aeframe.data.tables.text_dialect import Delimiter

Paths = str | Sequence[str]


@dataclass(frozen=True)
class Reading:
    """How a table is read; see `Table`. types: pairs of a name and a type."""

    types: tuple[tuple[str, str], ...] = ()
    id: str | None = None
    label: str | None = None
    drop: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    indicator: bool = False
    delimiter: Delimiter = "auto"
    decimal: Decimal = "auto"
    encoding: str = "auto"


def find_files(paths: Paths, option: str) -> list[Path]:
    """List the files of a path, a list of paths, or patterns such as data/*.csv. Raises UserError."""
    found = list[Path]()
    for path in [paths] if isinstance(paths, str) else paths:
        name = os.path.expanduser(path)
        if os.path.exists(name) or not has_magic(name):
            found.append(Path(name))
            continue
        if not (matches := sorted(glob(name, recursive=True))):
            raise UserError(f"dataset.{option}={path}", "matches no file", "Correct the pattern.")
        found += map(Path, matches)
    if not found:
        raise UserError(f"dataset.{option}", "names no file", f"Write dataset.{option}=FILE.csv.")
    return found


def open_files(paths: Paths, option: str, reading: Reading) -> tuple[TableFile, ...]:
    """Open the files of a split. Raises UserError with all files that cannot be read."""
    require_tables("dataset=table")
    files, problems = list[TableFile](), list[Problem]()
    for path in find_files(paths, option):
        where = f"dataset.{option}={path}"
        try:
            file = open_table(path, where, delimiter=reading.delimiter, encoding=reading.encoding)
            _ = file.names
            files.append(file)
        except UserError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    _require_same_columns(files)
    return tuple(files)


def _require_same_columns(files: Sequence[TableFile]) -> None:
    first = files[0]
    for file in files[1:]:
        if set(file.names) == set(first.names):
            continue
        lacking = [name for name in first.names if name not in file.names]
        added = [name for name in file.names if name not in first.names]
        parts = [
            f"{verb} {list_names(names)}"
            for verb, names in (("lacks", lacking), ("has also", added))
            if names
        ]
        what = f"has other columns than {first.path.name}: it {' and '.join(parts)}"
        raise UserError(file.where, what, "Give files of the same columns.")


def list_names(names: Iterable[str], most: int = LISTED) -> str:
    """List names in a message, the first ones if there are many."""
    known = [shorten(name, 60) for name in names]
    more = f" and {len(known) - most:,} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
