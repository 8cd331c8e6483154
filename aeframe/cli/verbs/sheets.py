"""Sheets: samples as labeled tiles on one picture, in .png."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aeframe.cli.verbs.outputs import replace_file
from aeframe.data.memory_map import as_tensor
from aeframe.monitoring.dashboard.maps import COURSES, Axis, arrange_map, list_courses
from aeframe.monitoring.dashboard.paper import EDGE, GAP, WIDTH
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet
from aeframe.monitoring.dashboard.table_plots import Table
from aeframe.monitoring.dashboard.view import choose_painter
from aeframe.runs.model import Model

if TYPE_CHECKING:
    from aeframe.monitoring.dashboard.painting import Painter


class Line(NamedTuple):
    """Samples x [n, *shape] that were decoded with a code unit at n values."""

    unit: int
    values: np.ndarray
    x: np.ndarray


class Sheet:
    """Sheet of samples that one model writes, in the form in which they are stored. noun: for one."""

    def __init__(self, model: Model) -> None:
        self.model, self.rows = model, list[Row]()
        data = model.description.data.written
        self.noun, self.shape = data.nouns.sample, data.shape
        self.normalization = deepcopy(model.net.written_normalization).cpu()
        self.paint: Painter = choose_painter(self.normalization, data)
        self.legend = self.paint.legend

    @property
    def about(self) -> str:
        """Sentence about the axes of tiles; empty without axes."""
        return self.paint.axes

    def add_row(self, x: np.ndarray, name: str = "", captions: Sequence[str] = ()) -> None:
        """Add samples [n, *shape] beside each other. name: above them. captions: above each."""
        tiles = self.paint.show(self.normalization(as_tensor(x)), self.paint.wide)
        self.rows.append(Row(tiles, name, captions))

    def add_traversal(self, lines: Sequence[Line]) -> str:
        """Add the samples of each line, and return a sentence about them."""
        if isinstance(self.paint, Table):
            decoded = self.normalization(as_tensor(np.concatenate([line.x for line in lines])))
            names = [f"unit {line.unit}" for line in lines]
            self.rows += list_courses(self.paint, decoded, names, self.paint.wide)
            return COURSES
        for unit, values, x in lines:
            self.add_row(x, f"unit {unit}", [f"{v:.3g}" for v in values])
        return " The value stands above each tile."

    def add_map(self, x: np.ndarray, across: Axis, up: Axis) -> str:
        """Add decoded codes [up * across, *shape] as a map, and return a sentence about it."""
        made = arrange_map(
            self.paint, self.normalization(as_tensor(x)), across, up, self.paint.wide
        )
        self.rows += made.rows
        self.legend = None  # a map of a table has a tile for each column
        return made.note

    def write(self, out: Path, title: str, note: str) -> None:
        """Write the sheet to a file."""
        wide = max(len(row.tiles) * row.step for row in self.rows)
        wide += 0 if self.legend is None else self.legend.width + GAP
        width = max(WIDTH, 2 * EDGE + wide - GAP)
        picture = draw_sheet(title, note, self.rows, width, self.legend)
        with replace_file(out) as file:
            picture.save(file, "PNG")
