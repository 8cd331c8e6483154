"""Curves: vectors and signals drawn as tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aeframe.data.normalization.usual_ranges import split_channels
from aeframe.data.source import Shape
from aeframe.monitoring.dashboard.painting import SCALE, Painter, Tiles, scale_weights
from aeframe.monitoring.dashboard.paper import FINE, INK, PALE, write_text

WIDE = 100  # pixels: wider tiles have axes
LEFT, BELOW = 30, 13  # pixels for the numbers of the axes
FINER = 2  # factor at which curves are drawn, before they are shrunk to smooth them
DOTTED = 40  # values: no more of them have dots
TARGET, FOUND = "#9a9a9a", "#d55e00"  # colors of a curve, and of its reconstruction over it
Point = tuple[float, float]
MOST = 8  # channels
Colored = tuple[Tensor, str]
"""Values in [0, 1], and the color of their curves."""
Ends = tuple[str, str]
"""The numbers at the bottom and at the top of a vertical axis."""


class Curves(Painter):
    """Painter of vectors and signals: curves over the elements, the reconstruction over the clean sample.

    ends: the numbers at the ends of the vertical axis, of each channel or of all. unit: of these numbers.
    names: of the channels, which have axes of their own below each other. axes: of a sample in its file.
    """

    columns, many, wide, zero = 2, 3, 160, "half the height"
    over = " Gray is the clean input, orange what the heading names."
    error = f"error, as a share of the data's range, up to {SCALE:.0%}"

    def __init__(
        self,
        low: float | Tensor,
        high: float | Tensor,
        ends: Sequence[tuple[float, float]],
        unit: str,
        names: Sequence[str] = (),
        axes: Shape = (),
    ) -> None:
        super().__init__(low, high)
        self.ends = [(f"{first:.3g}", f"{last:.3g}") for first, last in ends]
        self.of_file = axes
        self.axes = f" Horizontal axis: index; vertical axis: {unit}."
        if len(names) > 1:
            shown = (
                f"The first {MOST} of {len(names)} channels" if len(names) > MOST else "Channels"
            )
            self.error = self.error.replace("the data's", "its channel's")
            self.axes += f" {shown} from the top: {', '.join(names[:MOST])}."

    def draw(self, values: Tensor, width: int) -> Tiles:
        return self._draw_each([(values, INK)], width, self.ends)

    def show_weights(self, w: Tensor, width: int) -> Tiles:
        return self._draw_each([(scale_weights(w), INK)], width, [("-1", "1")])

    def show_restored(self, x: Tensor, restored: Tensor) -> Tiles:
        pair = [(self.scale(x), TARGET), (self.scale(restored), FOUND)]
        return self._draw_each(pair, self.fit(self.columns), self.ends)

    def show_error(self, x: Tensor, restored: Tensor) -> Tiles:
        off = self.scale_error(x, restored)
        return self._draw_each([(off, FOUND)], self.fit(self.columns), [("0%", f"{SCALE:.0%}")])

    def _draw_each(self, layers: list[Colored], width: int, ends: list[Ends]) -> Tiles:
        """Draw a tile for each sample [n, *shape], with a curve of each layer."""
        lines = [(split_channels(v, self.of_file)[:, :MOST], color) for v, color in layers]
        count = len(lines[0][0])
        return [
            draw_plots([(v[i], color) for v, color in lines], width, ends) for i in range(count)
        ]


def draw_plots(layers: list[Colored], width: int, ends: list[Ends]) -> Image.Image:
    """Draw the channels of curves [channels, length], with values in [0, 1], below each other.

    ends: numbers at the ends of the vertical axis, of each channel or of all. A narrow tile is a square
    without axes.
    """
    channels = len(layers[0][0])
    has_axes, share = width > WIDE, 1 if channels == 1 else 2
    height = width // 2 // share if has_axes else width // channels
    left, below = (LEFT, BELOW) if has_axes else (0, 0)
    tile = Image.new("RGB", (width, channels * height + below if has_axes else width), "white")
    for channel in range(channels):
        curves = [(values[channel], color) for values, color in layers]
        top, last = channel * height, (channel + 1) * height - 1
        tile.paste(draw_curves(curves, (width - left, height)), (left, top))
        ImageDraw.Draw(tile).rectangle((left, top, width - 1, last), outline=PALE)
        if has_axes:
            low, high = ends[channel % len(ends)]
            write_text(tile, (left - 2, last), low, FINE, "rd")
            write_text(tile, (left - 2, top), high, FINE, "ra")
    if has_axes:
        write_text(tile, (left, tile.height), "0", FINE, "ld")
        write_text(tile, (width - 1, tile.height), str(layers[0][0].shape[1] - 1), FINE, "rd")
    return tile


def draw_curves(curves: list[Colored], size: tuple[int, int]) -> Image.Image:
    """Draw curves [length] over each other, each with its color, on white of this size."""
    plot = Image.new("RGB", (size[0] * FINER, size[1] * FINER), "white")
    draw, pen = ImageDraw.Draw(plot), FINER * 3 // 2
    for line, color in curves:
        for points in _split_at_gaps(_place_points(line, plot.width, plot.height, pen)):
            draw.line(points, color, pen, "curve")
            for x, y in points if len(line) <= DOTTED or len(points) == 1 else ():
                draw.ellipse((x - pen, y - pen, x + pen, y + pen), color)
    return plot.reduce(FINER)


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
