"""Reader of the tables that `encode` writes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from aeframe.cli.verbs.outputs import require_parquet
from aeframe.core.errors import UserError, describe_error

TEXTS = ("name", "label")
"""Columns with texts; all others are numbers, unless some are named z0, z1, ..."""
UNIT = re.compile(r"z\d+")


def _list_texts(header: list[str]) -> list[str]:
    """List the columns that are no codes: the id and the label of a table have names of their own."""
    others = [name for name in header if not UNIT.fullmatch(name)]
    return others if len(others) < len(header) else [name for name in header[:2] if name in TEXTS]


def read_csv(path: Path) -> tuple[np.ndarray, list[str]]:
    """Read the numbers of a CSV table with a header, and its column of names, if there is one.

    A column of labels is left out.
    """
    names, rows = list[str](), list[list[float]]()
    try:
        with path.open(newline="", errors="surrogateescape") as file:
            reader = csv.reader(file)
            header = next(reader, [""])
            texts = len(_list_texts(header))
            for line in reader:
                names += line[:1] if header[0] == "name" else []
                rows.append([float(value) for value in line[texts:]])
        return np.array(rows, np.float32).reshape(len(rows), -1), names
    except (OSError, ValueError, csv.Error) as error:
        what = f"line {len(rows) + 2} cannot be read ({describe_error(error)})"
        raise UserError(str(path), what, "Give a table that encode wrote.") from error


def read_parquet(path: Path) -> tuple[np.ndarray, list[str]]:
    """Read the numbers and the names of a Parquet table."""
    require_parquet(str(path))
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        columns = dict(zip(table.column_names, table.columns, strict=True))
        names = [str(name) for name in columns.pop("name", [])]
        for name in _list_texts(list(columns)):
            del columns[name]
        codes = np.empty((table.num_rows, len(columns)), np.float32)
        for i, column in enumerate(columns.values()):
            codes[:, i] = column.to_numpy()
        return codes, names
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        what = f"cannot be read ({describe_error(error).rstrip('.')})"
        raise UserError(str(path), what, "Give a table that encode wrote.") from error
