"""Sheets: samples as labeled tiles on one picture, in .png."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aeframe.cli.verbs.outputs import replace_file
from aeframe.data.memory_map import as_tensor
from aeframe.monitoring.dashboard.paper import EDGE, GAP, WIDTH
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet
from aeframe.monitoring.dashboard.view import choose_painter
from aeframe.runs.model import Model

if TYPE_CHECKING:
    from aeframe.monitoring.dashboard.painting import Painter, Tiles

SIDE, CURVE = 64, 160
"""Pixels: the longer side of a small image at least, and the width of a curve."""


class Sheet:
    """Sheet of samples of one model, in the form in which they are stored. noun: for one sample."""

    def __init__(self, model: Model) -> None:
        self.model, self.rows = model, list[Row]()
        data = model.description.data
        self.noun = data.nouns.sample
        self.normalization = deepcopy(model.net.normalization).cpu()
        self.paint: Painter = choose_painter(self.normalization, data)

    @property
    def about(self) -> str:
        """Sentence about the axes of tiles; empty without axes."""
        return self.paint.axes

    def add_row(self, x: np.ndarray, name: str = "", captions: Sequence[str] = ()) -> None:
        """Add samples [n, *shape] beside each other. name: above them. captions: above each."""
        self.rows.append(Row(self._draw_tiles(x), name, captions))

    def _draw_tiles(self, x: np.ndarray) -> Tiles:
        shape = self.model.shape
        longer = max(shape[1:]) if len(shape) == 3 and min(shape[1:]) > 1 else 0
        width = longer * math.ceil(SIDE / longer) if longer else CURVE
        return self.paint.show(self.normalization(as_tensor(x)), width)

    def write(self, out: Path, title: str, note: str) -> None:
        """Write the sheet to a file."""
        wide = max(len(row.tiles) * row.step for row in self.rows)
        picture = draw_sheet(title, note, self.rows, max(WIDTH, 2 * EDGE + wide - GAP))
        with replace_file(out) as file:
            picture.save(file, "PNG")
