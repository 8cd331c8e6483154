"""Reader of the tables that `encode` writes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from aeframe.cli.verbs.outputs import require_parquet
from aeframe.core.errors import UserError, describe_error

TEXTS = ("name", "label")
"""Columns with texts; all others are numbers."""


def read_csv(path: Path) -> tuple[np.ndarray, list[str]]:
    """Read the numbers of a CSV table with a header, and its column of names, if there is one.

    A column of labels is left out.
    """
    names, rows = list[str](), list[list[float]]()
    try:
        with path.open(newline="", errors="surrogateescape") as file:
            reader = csv.reader(file)
            header = next(reader, [""])
            texts = sum(column in TEXTS for column in header[: len(TEXTS)])
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
        columns.pop("label", None)
        codes = np.empty((table.num_rows, len(columns)), np.float32)
        for i, column in enumerate(columns.values()):
            codes[:, i] = column.to_numpy()
        return codes, names
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        what = f"cannot be read ({describe_error(error).rstrip('.')})"
        raise UserError(str(path), what, "Give a table that encode wrote.") from error
