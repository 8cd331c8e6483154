"""Curves: vectors and signals drawn as tiles."""

from __future__ import annotations

import itertools
import math

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aeframe.monitoring.dashboard.painting import SCALE, Painter, Tiles, scale_weights
from aeframe.monitoring.dashboard.paper import FINE, INK, PALE, fit_tiles, write_text

WIDE = 100  # pixels: wider tiles have axes
LEFT, BELOW = 30, 13  # pixels for the numbers of the axes
FINER = 2  # factor at which curves are drawn, before they are shrunk to smooth them
DOTTED = 40  # values: no more of them have dots
TARGET, FOUND = "#9a9a9a", "#d55e00"  # colors of a curve, and of its reconstruction over it
Point = tuple[float, float]
Colored = tuple[Tensor, str]
"""Values in [0, 1], and the color of their curves."""


class Curves(Painter):
    """Painter of vectors: curves over the elements, the reconstruction over the clean sample.

    Each channel of an image of one line is a curve. ends: the numbers at the ends of the vertical
    axis. unit: of these numbers.
    """

    columns, many, zero = 2, 3, "half the height"
    over = " Gray is the clean input, orange is what stands above."
    error = f"error, as a share of the data's range, up to {SCALE:.0%}"

    def __init__(
        self, low: float | Tensor, high: float | Tensor, ends: tuple[float, float], unit: str
    ) -> None:
        super().__init__(low, high)
        self.ends = f"{ends[0]:.3g}", f"{ends[1]:.3g}"
        self.axes = f" Horizontal axis: index; vertical axis: {unit}."

    def draw(self, values: Tensor, width: int) -> Tiles:
        return _draw_each([(values, INK)], width, self.ends)

    def show_weights(self, w: Tensor, width: int) -> Tiles:
        return _draw_each([(scale_weights(w), INK)], width, ("-1", "1"))

    def show_restored(self, x: Tensor, restored: Tensor) -> Tiles:
        pair = [(self.scale(x), TARGET), (self.scale(restored), FOUND)]
        return _draw_each(pair, fit_tiles(self.columns), self.ends)

    def show_error(self, x: Tensor, restored: Tensor) -> Tiles:
        off = self.scale_error(x, restored)
        return _draw_each([(off, FOUND)], fit_tiles(self.columns), ("0%", f"{SCALE:.0%}"))


def _draw_each(layers: list[Colored], width: int, ends: tuple[str, str]) -> Tiles:
    """Draw a tile for each sample [n, *shape], with a curve of each layer."""
    x = layers[0][0]
    channels = x.shape[1] if x.ndim == 4 else 1
    lines = [(values.reshape(len(x), channels, -1), color) for values, color in layers]
    return [draw_plot([(v[i], color) for v, color in lines], width, ends) for i in range(len(x))]


def draw_plot(curves: list[Colored], width: int, ends: tuple[str, str]) -> Image.Image:
    """Draw curves [channels, length] with values in [0, 1], each with its color.

    ends: numbers at the ends of the vertical axis. A narrow tile is a square without axes.
    """
    has_axes = width > WIDE
    size = (width, width // 2 + BELOW) if has_axes else (width, width)
    left, below = (LEFT, BELOW) if has_axes else (0, 0)
    plot = Image.new("RGB", ((width - left) * FINER, (size[1] - below) * FINER), "white")
    draw = ImageDraw.Draw(plot)
    pen = FINER * 3 // 2
    for lines, color in curves:
        for line in lines:
            for points in _split_at_gaps(_place_points(line, plot.width, plot.height, pen)):
                draw.line(points, color, pen, "curve")
                for x, y in points if len(line) <= DOTTED or len(points) == 1 else ():
                    draw.ellipse((x - pen, y - pen, x + pen, y + pen), color)
    tile = Image.new("RGB", size, "white")
    tile.paste(plot.reduce(FINER), (left, 0))
    frame = (left, 0, width - 1, size[1] - below - 1)
    ImageDraw.Draw(tile).rectangle(frame, outline=PALE)
    if has_axes:
        write_text(tile, (left - 2, frame[3]), ends[0], FINE, "rd")
        write_text(tile, (left - 2, 0), ends[1], FINE, "ra")
        write_text(tile, (left, size[1]), "0", FINE, "ld")
        write_text(tile, (width - 1, size[1]), str(curves[0][0].shape[1] - 1), FINE, "rd")
    return tile


def _split_at_gaps(points: list[Point]) -> list[list[Point]]:
    """Split the points of a curve into those between gaps, whose height is NaN."""
    runs = itertools.groupby(points, key=lambda point: math.isnan(point[1]))
    return [list(run) for is_gap, run in runs if not is_gap]


def _place_points(line: Tensor, width: int, height: int, edge: int) -> list[Point]:
    """Place the values of a curve; where they are many, the extremes of neighbors."""
    if len(line) == 1:
        line = line.repeat(2)
    if len(line) > width:
        high, low = F.adaptive_max_pool1d(torch.stack([line, -line])[None], width // 2)[0]
        line = torch.stack([high, -low], 1).flatten()
    across = torch.linspace(edge, width - edge, len(line))
    down = height - edge - line * (height - 2 * edge)
    return list(zip(across.tolist(), down.tolist(), strict=True))
