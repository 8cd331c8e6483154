"""Metrics file: metrics.csv in a run's folder, with all curves as one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from aeframe.core.errors import UserError
from aeframe.core.files import write_atomically

NAME = "metrics.csv"
BEGINNING = "step,epoch,"
"""First columns of the header, by which a run's file is known."""
Row = dict[str, str]
"""Cells of one step by column, without empty ones."""


def make_row(step: int, epoch: int, values: Mapping[str, float]) -> Row:
    """Make the row of a step. Nine digits tell each float32 from all others."""
    numbers = {tag: f"{value:.9g}" for tag, value in values.items()}
    return {"step": str(step), "epoch": str(epoch), **numbers}


class MetricsFile:
    """Table with a row for each step that has values, and a column for each curve.

    The last row is written again with those that follow it, because its step may get more values: those
    of a validation, then those of the next training step. For the column of a new curve the whole file is
    written again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.listeners: list[Callable[[list[Row]], None]] = []  # which get all new rows
        self._columns: list[str] = []
        self._last: list[Row] = []  # the last row, if there is one
        self._start = 0  # where it begins in the file, in bytes

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows, in the order of their steps."""
        added = list(rows)
        for listen in self.listeners:
            listen(added)
        new = join_steps([*self._last, *added])
        if not new:
            return
        columns = _list_columns(new, self._columns)
        if columns == self._columns:
            lines = _format_rows(new, columns)
            with self.path.open("r+b") as file:
                file.seek(self._start)
                file.write(b"".join(lines))
                file.truncate()
            size = self._start + sum(map(len, lines))
        else:  # also the first time, when the file may have rows of an earlier process
            new = join_steps([*read_rows(self.path), *new])
            self._columns = _list_columns(new, self._columns)
            lines = _write_whole(self.path, new, self._columns)
            size = sum(map(len, lines))
        self._last, self._start = new[-1:], size - len(lines[-1])


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a metrics file, without an incomplete last one."""
    if not path.is_file():
        return []
    text = path.read_text("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]
    return [
        {column: cell for column, cell in row.items() if cell}
        for row in csv.DictReader(io.StringIO(whole, newline=""))
    ]


def truncate_rows(folder: Path, steps: int) -> None:
    """Keep the rows of the first `steps` steps; the resumed run writes the later ones again.

    Raises UserError for a file of this name that no run has written.
    """
    path = folder / NAME
    if not path.exists():
        return
    with path.open("rb") as file:
        beginning = file.read(len(BEGINNING))
    if beginning and beginning != BEGINNING.encode():
        what = "was not written by a run, and the run would replace it"
        raise UserError(str(path), what, "Move it away, or use another folder.")
    kept = [row for row in read_rows(path) if int(row["step"]) < steps]
    if kept:
        _write_whole(path, kept, _list_columns(kept))
    else:
        path.unlink()


def join_steps(rows: Iterable[Row]) -> list[Row]:
    """Join neighbors of the same step to one row."""
    joined: list[Row] = []
    for row in rows:
        if joined and joined[-1]["step"] == row["step"]:
            joined[-1] = joined[-1] | row
        else:
            joined.append(row)
    return joined


def _list_columns(rows: Iterable[Row], first: Iterable[str] = ()) -> list[str]:
    """List all columns, in the order in which they appear."""
    return list(dict.fromkeys([*first, *(column for row in rows for column in row)]))


def _format_rows(rows: Iterable[Row], columns: Iterable[str]) -> list[bytes]:
    """Format rows as lines. Names of curves hold no commas, quotes or line ends."""
    return [(",".join(row.get(c, "") for c in columns) + "\n").encode() for row in rows]


def _write_whole(path: Path, rows: Iterable[Row], columns: list[str]) -> list[bytes]:
    """Write all rows below the header. Returns the lines."""
    lines = _format_rows([dict(zip(columns, columns, strict=True)), *rows], columns)
    with write_atomically(path) as file:
        file.writelines(lines)
    return lines
