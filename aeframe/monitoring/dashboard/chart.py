"""Chart: axes with a title and units, drawn by matplotlib as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, DPI = (7.6, 4.6), 100
"""Width and height in inches, and pixels of an inch."""
WIDE, BESIDE_LEGEND = (0.11, 0.13, 0.86, 0.76), (0.11, 0.13, 0.65, 0.76)
"""Place of the axes: left, bottom, width and height, as shares of the chart."""
COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colors that the color-blind can tell apart (Petroff 2021, arXiv:2107.02270)."""
MARKERS = "os^"
"""Shapes of points: classes beyond the tenth repeat the colors with the next shape."""
ROOMY = 17
"""Classes that fit beside the axes; the names of more are smaller."""
LARGE, SMALL = 13, 10
"""Sizes of the title and of all other text, in points."""


class Chart:
    """One pair of axes on white. x, y: names of the axes, with units."""

    def __init__(self, title: str, x: str, y: str, *, has_legend: bool = False) -> None:
        # takes half a second, and most of the time nothing is drawn
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, dpi=DPI)
        self.canvas = FigureCanvasAgg(figure)
        self.axes: Axes = figure.add_axes(BESIDE_LEGEND if has_legend else WIDE)
        self.axes.set_title(title, fontsize=LARGE, loc="left")
        self.axes.set_xlabel(x, fontsize=SMALL)
        self.axes.set_ylabel(y, fontsize=SMALL)
        self.axes.tick_params(labelsize=SMALL)
        for side in ("top", "right"):
            self.axes.spines[side].set_visible(False)

    def add_legend(self, names: Sequence[str]) -> None:
        """Name the classes to the right of the axes, in the colors and shapes of `style_class`."""
        from matplotlib.lines import Line2D

        styles = [style_class(number) for number in range(len(names))]
        handles = [
            Line2D([], [], linestyle="", color=color, marker=marker, label=_shorten(name))
            for name, (color, marker) in zip(names, styles, strict=True)
        ]
        self.canvas.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(BESIDE_LEGEND[0] + BESIDE_LEGEND[2] + 0.01, 0.91),
            fontsize=SMALL if len(names) <= ROOMY else SMALL * ROOMY / len(names),
            frameon=False,
            handletextpad=0.1,
        )

    def locate(self, points: Tensor) -> Tensor:
        """Return the pixels of points [N, 2], counted from the upper left corner."""
        places = torch.from_numpy(self.axes.transData.transform(points.numpy()))
        return torch.stack([places[:, 0], SIZE[1] * DPI - places[:, 1]], 1)

    def render(self) -> Image.Image:
        """Return the chart as pixels."""
        self.canvas.draw()
        return Image.frombuffer(
            "RGBA", self.canvas.get_width_height(), self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1
        ).convert("RGB")


def style_class(number: int) -> tuple[str, str]:
    """Return the color and the shape of a class's points."""
    return COLORS[number % len(COLORS)], MARKERS[number // len(COLORS) % len(MARKERS)]


def _shorten(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"
