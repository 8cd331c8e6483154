"""Maps: decoded codes on a grid over two code units, or at several values of each unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from aeframe.monitoring.dashboard.painting import Painter
from aeframe.monitoring.dashboard.paper import fit_tiles, shorten_names
from aeframe.monitoring.dashboard.sheet import Row, split_rows
from aeframe.monitoring.dashboard.table_plots import Table

FIELDS = 4  # columns of a table beside each other


COURSES = (
    " In each tile the unit grows from left to right; black is the lowest usual value of a column, white its "
    "highest."
)
"""Sentence about the tiles of `list_courses`."""


class Axis(NamedTuple):
    """Axis of a map: the number of a code unit, and its values in a word each, in increasing order."""

    unit: int
    values: Sequence[str]


class Map(NamedTuple):
    """Rows of tiles for a sheet. note: sentences on what they are."""

    rows: list[Row]
    note: str


def arrange_map(paint: Painter, decoded: Tensor, across: Axis, up: Axis, width: int) -> Map:
    """Arrange decoded codes [up * across, *shape] as a map; the first row has the highest value of `up`.

    A table gets a map for each column, because it has too many numbers for one tile. width: of other tiles.
    """
    columns = len(across.values)
    if isinstance(paint, Table):
        side = fit_tiles(FIELDS)
        names = shorten_names(paint.names, side)
        tiles = paint.show_fields(decoded.view(len(up.values), columns, -1), side)
        note = (
            "The value of each column in decoded codes: black is its lowest usual value, white its "
            f"highest. Unit {across.unit} grows rightwards, {across.values[0]} to {across.values[-1]}, "
            f"unit {up.unit} upwards, {up.values[0]} to {up.values[-1]}."
        )
        return Map(split_rows([Row(tiles, "", names)], FIELDS), note)
    rows = [
        Row(paint.show(line, width), f"unit {up.unit} at {value}")
        for line, value in zip(decoded.split(columns), reversed(up.values), strict=True)
    ]
    rows[0] = rows[0]._replace(captions=across.values)
    note = f"Each tile is a decoded code. Numbers above the columns: unit {across.unit}."
    return Map(rows, note + paint.axes)


def list_courses(paint: Table, decoded: Tensor, units: Sequence[str], width: int) -> list[Row]:
    """List rows with a tile for each unit of a table's code, from decoded codes [units * values, columns].

    units: their names. width: of a tile.
    """
    tiles = paint.show_courses(decoded.split(len(decoded) // len(units)), width)
    return split_rows([Row(tiles, "", list(units))], paint.columns)
