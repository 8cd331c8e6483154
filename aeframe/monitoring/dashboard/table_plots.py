"""Table plots: each sample of a table as dots, one on the line of each column (Cleveland 1984)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aeframe.monitoring.dashboard.painting import Painter, Tiles, convert_to_images, scale_weights
from aeframe.monitoring.dashboard.paper import FINE, INK, PALE, shorten_names, write_text
from aeframe.monitoring.dashboard.signal_plots import FINER, FOUND, TARGET, Colored, draw_curves

PITCH = 13  # pixels of a column's line
DASH = 4  # pixels of a dash
DOT = 2.5  # radius of a dot, in pixels
BELOW = 5  # pixels below the last line
NAMES = 104  # pixels for the names
SQUARE = 40  # pixels: narrower tiles are squares with a curve
TALL = 1200  # pixels of a sheet with many rows
POSITIVE, NEGATIVE = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0)
"""Red, green and blue of weights, which the color-blind can tell apart (Okabe & Ito 2008)."""


class Table(Painter):
    """Painter of tables: dots on a line for each column, which spans the usual range of its values.

    low, high: the ends of these ranges, [columns]. names: of the columns.
    """

    columns, many, filters, wide, error = 4, 4, 20, 90, ""
    zero = "blue is positive, orange negative, white"
    over = " Gray dots are the clean input, orange dots what the heading names; equal ones cover each other."
    axes = (
        " Each line spans a column's training values without far outliers; a triangle at its end is a value "
        "beyond them, a dashed line a gap."
    )

    def __init__(self, low: Tensor, high: Tensor, names: Sequence[str]) -> None:
        super().__init__(low, high)
        self.names = names
        self.tall = max(1, min(10, TALL // (PITCH * len(names))))
        self.legend = Image.new("L", (NAMES, PITCH * len(names) + BELOW), "white")
        for row, name in enumerate(shorten_names(names, NAMES - 4, FINE)):
            write_text(self.legend, (2, PITCH * row), name, FINE)

    def scale(self, x: Tensor) -> Tensor:
        """Scale values so that the usual ones lie in [0, 1]."""
        return (x.detach().float().cpu() - self.low) / (self.high - self.low)

    def draw(self, values: Tensor, width: int) -> Tiles:
        if width < SQUARE:
            size = (width, width)
            return [draw_curves([(sample.clamp(0, 1), INK)], size) for sample in values]
        return [draw_dots([(sample, INK)], width) for sample in values]

    def show_weights(self, w: Tensor, width: int) -> Tiles:
        strength = 2 * scale_weights(w)[:, None, :, None] - 1
        colors = torch.where(
            strength < 0,
            torch.tensor(NEGATIVE).view(3, 1, 1),
            torch.tensor(POSITIVE).view(3, 1, 1),
        )
        strips = convert_to_images(1 - strength.abs() * (1 - colors))
        return [
            strip.resize((width, PITCH * strip.height), Image.Resampling.NEAREST)
            for strip in strips
        ]

    def show_fields(self, grid: Tensor, side: int) -> Tiles:
        """Draw values [height, width, columns] as a square for each column: black is low, white high."""
        fields = self.scale(grid).clamp(0, 1).movedim(2, 0)[:, None]
        return [
            field.resize((side, side), Image.Resampling.NEAREST)
            for field in convert_to_images(fields)
        ]

    def show_courses(self, courses: Sequence[Tensor], width: int) -> Tiles:
        """Draw samples [steps, columns] as lines, one for each column: black is low, white high."""
        cells = torch.stack([self.scale(course).clamp(0, 1).t()[None] for course in courses])
        size = (width, PITCH * len(self.names))
        return [cell.resize(size, Image.Resampling.NEAREST) for cell in convert_to_images(cells)]

    def show_restored(self, x: Tensor, restored: Tensor) -> Tiles:
        pairs = zip(self.scale(x), self.scale(restored), strict=True)
        return [draw_dots([(a, TARGET), (b, FOUND)], self.fit(self.columns)) for a, b in pairs]

    def show_error(self, x: Tensor, restored: Tensor) -> Tiles:
        return []  # the distance of the dots


def draw_dots(layers: Sequence[Colored], width: int) -> Image.Image:
    """Draw values [columns] as dots on lines from 0 to 1, and a stroke from the first layer's to the last's.

    A value beyond the line is a triangle at its end. The line is dashed where the first layer has a gap, NaN.
    """
    count = len(layers[0][0])
    tile = Image.new("RGB", (width * FINER, (count * PITCH + BELOW) * FINER), "white")
    draw, edge, size = ImageDraw.Draw(tile), (DOT + 3) * FINER, DOT * FINER
    places = [(edge + v.clamp(0, 1) * (tile.width - 2 * edge)).tolist() for v, _ in layers]
    for row in range(count):
        y = (row + 0.5) * PITCH * FINER
        draw.line((edge, y, tile.width - edge, y), PALE, FINER)
        if math.isnan(float(layers[0][0][row])):
            for start in range(int(edge), int(tile.width - edge), 2 * DASH * FINER):
                draw.line((start, y, start + DASH * FINER, y), "white", FINER)
        present = [
            (at[row], float(v[row]), color) for (v, color), at in zip(layers, places, strict=True)
        ]
        present = [dot for dot in present if not math.isnan(dot[1])]
        if len(present) > 1:
            draw.line((present[0][0], y, present[-1][0], y), present[-1][2], 2 * FINER)
        for x, value, color in present:
            if 0 <= value <= 1:
                draw.ellipse((x - size, y - size, x + size, y + size), color)
            else:
                tip = x + edge if value > 1 else x - edge
                draw.polygon([(x, y - 1.5 * size), (x, y + 1.5 * size), (tip, y)], color)
    return tile.reduce(FINER)
