"""Chart: axes with a title and units, drawn by matplotlib as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, DPI = (7.0, 5.6), 100
"""Width and height in inches, and pixels of an inch: twice as wide as TensorBoard shows a picture."""
WIDE, BESIDE_LEGEND = (0.17, 0.14, 0.8, 0.7), (0.17, 0.14, 0.59, 0.7)
"""Place of the axes: left, bottom, width and height, as shares of the chart."""
COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colors that the color-blind can tell apart (Petroff 2021, arXiv:2107.02270)."""
MARKERS = "os^"
"""Shapes of points: classes beyond the tenth repeat the colors with the next shape."""
ROOMY = 15
"""Classes that fit beside the axes; the names of more are smaller."""
LONGEST = 12
"""Letters of a class's name that fit."""
LARGE, SMALL = 18, 15
"""Sizes of the title and of all other text, in points."""


class Chart:
    """One pair of axes on white. note: below the title. x, y: names of the axes, with units."""

    def __init__(self, title: str, note: str, x: str, y: str, *, has_legend: bool = False) -> None:
        # takes half a second, and most of the time nothing is drawn
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, dpi=DPI)
        self.canvas = FigureCanvasAgg(figure)
        self.axes: Axes = figure.add_axes(BESIDE_LEGEND if has_legend else WIDE)
        figure.text(0.02, 0.975, title, fontsize=LARGE, va="top")
        figure.text(0.02, 0.905, note, fontsize=SMALL, va="top")
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
            bbox_to_anchor=(BESIDE_LEGEND[0] + BESIDE_LEGEND[2], 0.86),
            fontsize=SMALL if len(names) <= ROOMY else SMALL * ROOMY / len(names),
            frameon=False,
            handletextpad=0.0,
            labelspacing=0.3,
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
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
