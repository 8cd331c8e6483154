"""Error for cells of a table that do not fit their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aeframe.core.errors import Problem, UserError, shorten

MOST_CELLS = 5
"""Cells that are named at once."""


class BadCell(NamedTuple):
    """A cell that does not fit its column. row: from 0, in the table that was encoded."""

    column: str
    row: int
    what: str
    remedy: str


class CellError(UserError):
    """The first cells, by row, that do not fit their columns. column, row: of the first one."""

    def __init__(self, where: str, cells: Sequence[BadCell]) -> None:
        super().__init__(where, "has cells that do not fit their columns")
        self.where, self.cells = where, tuple(sorted(cells, key=lambda cell: cell.row)[:MOST_CELLS])
        self.problems = self.list_problems(lambda row: f"row {row} (from 0)")
        self.column, self.row = self.cells[0].column, self.cells[0].row
        self.args = (where, self.cells)

    def list_problems(
        self, describe_row: Callable[[int], str], start: int = 0
    ) -> tuple[Problem, ...]:
        """List a problem for each cell. describe_row: names the place of a row. start: is added to rows."""
        places = [describe_row(start + cell.row) for cell in self.cells]
        return tuple(
            Problem(self.where, f"column {shorten(cell.column)}, {place}: {cell.what}", cell.remedy)
            for cell, place in zip(self.cells, places, strict=True)
        )
