"""Sheet: rows of tiles with a title, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Tiles
from aeframe.monitoring.dashboard.paper import (
    EDGE,
    GAP,
    INSET,
    LARGE,
    NORMAL,
    WIDTH,
    measure_text,
    wrap_text,
    write_text,
)

HEADING, LINE, SPACE = 22, 16, 6  # heights of a line of the title, of other text, above a name


class Row(NamedTuple):
    """Tiles beside each other. name: above them. captions: above each, below the name."""

    tiles: Tiles
    name: str = ""
    captions: Sequence[str] = ()

    @property
    def height(self) -> int:
        lines = bool(self.name) + bool(self.captions)
        return SPACE * bool(lines) + LINE * lines + self.tiles[0].height + GAP

    @property
    def step(self) -> int:
        """Distance of neighbors at least, so that neither tiles nor captions collide."""
        widest = max(map(measure_text, self.captions), default=0)
        return max(self.tiles[0].width, widest) + GAP

    def paste(
        self, sheet: Image.Image, top: int, step: int, legend: Image.Image | None = None
    ) -> None:
        """Draw the row on a sheet, from this line of pixels down, with the legend at its left."""
        if self.name:
            write_text(sheet, (INSET, top + SPACE), self.name)
        above = top + self.height - GAP - self.tiles[0].height
        left = EDGE
        if legend is not None:
            sheet.paste(legend, (EDGE, above))
            left += legend.width + GAP
        for i, caption in enumerate(self.captions):
            write_text(sheet, (left + i * step, above - LINE), caption)
        for i, tile in enumerate(self.tiles):
            sheet.paste(tile, (left + i * step, above))


def add_sheet(
    page: Page,
    name: str,
    title: str,
    note: str,
    rows: Sequence[Row],
    legend: Image.Image | None = None,
) -> None:
    """Add a sheet to a page. note: sentences below the title, and the caption in TensorBoard."""
    picture = draw_sheet(f"{title}, epoch {page.epoch}", note, rows, legend=legend)
    page.add_picture(name, picture, note)


def draw_sheet(
    title: str,
    note: str,
    rows: Sequence[Row],
    width: int = WIDTH,
    legend: Image.Image | None = None,
) -> Image.Image:
    """Draw a title, a note and rows of tiles below each other, on white.

    width: in pixels. legend: stands left of each row.
    """
    text = [(line, LARGE, HEADING) for line in wrap_text(title, width - 2 * INSET, LARGE)]
    text += [(line, NORMAL, LINE) for line in wrap_text(note, width - 2 * INSET)]
    head = INSET + sum(high for *_, high in text) + SPACE
    height = head + sum(row.height for row in rows) + INSET
    modes = {tile.mode for row in rows for tile in row.tiles}
    sheet = Image.new("RGB" if "RGB" in modes else "L", (width, height), "white")
    top, step = INSET, max(row.step for row in rows)
    for line, size, high in text:
        write_text(sheet, (INSET, top), line, size)
        top += high
    top = head
    for row in rows:
        row.paste(sheet, top, step, legend)
        top += row.height
    return sheet


def split_rows(rows: Sequence[Row], columns: int) -> list[Row]:
    """Split rows with equally many tiles into blocks of all rows with at most `columns` tiles."""
    count = len(rows[0].tiles)
    blocks = -(-count // columns)
    each = -(-count // blocks)
    return [
        Row(row.tiles[i : i + each], row.name, row.captions[i : i + each])
        for i in range(0, count, each)
        for row in rows
    ]
