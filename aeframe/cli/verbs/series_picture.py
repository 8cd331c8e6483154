"""Picture of the scores of a series: the channels at fault, and the score with its limit below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aeframe.cli.verbs.series_inputs import name_steps
from aeframe.data.series.recording import Recording
from aeframe.monitoring.dashboard.paper import PALE
from aeframe.monitoring.dashboard.signal_plots import FOUND, TARGET
from aeframe.runs.steps import StepResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 4  # channels
POINTS = 2000  # of a curve; of more, the extremes of neighbors are drawn
AROUND = 2  # windows before and after the worst step, in the right column
TICKS = 4
LIMIT = "#bd1f01"


def draw_scores(
    one: Recording, made: StepResults, limit: float, names: Sequence[str], window: int
) -> Figure:
    """Draw a series, and beside it the surroundings of its worst step. names: of its channels."""
    from matplotlib.figure import Figure

    steps, worst = len(made.scores), int(np.nan_to_num(made.scores).argmax())
    channels, at = rank_channels(made, limit)[:MOST], name_steps(one)
    near = (max(0, worst - AROUND * window), min(steps, worst + AROUND * window + 1))
    parts = [(0, steps), near] if steps > 4 * AROUND * window else [(0, steps)]
    size = (6.0 * len(parts) + 1, 1.6 * (len(channels) + 1) + 1)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    grid = figure.subplots(len(channels) + 1, len(parts), squeeze=False, sharex="col", sharey="row")
    for column, (begin, end) in enumerate(parts):
        part = slice(begin, end)
        for channel, axes in zip(channels, grid[:, column], strict=False):
            _plot(axes, begin, one.values[channel, part], TARGET, "seen")
            _plot(axes, begin, made.restored[channel, part], FOUND, "expected")
        _plot(grid[-1, column], begin, made.scores[part], "black", "score")
        grid[-1, column].axhline(limit, color=LIMIT, linestyle=":", label=f"limit {limit:.3g}")
        ticks = np.linspace(begin, end - 1, TICKS).round().astype(int)
        grid[-1, column].set_xticks(ticks, [str(name).replace(" ", "\n") for name in at[ticks]])
        grid[-1, column].set_xlabel("step" if one.times is None else "time")
        for axes in grid[:, column]:
            for first, last in find_stretches(made.scores[part] > limit):
                axes.axvspan(begin + first - 0.5, begin + last - 0.5, color=PALE, zorder=0)
    for axes, name in zip(grid[:, 0], [*(names[c] for c in channels), "score"], strict=True):
        axes.set_ylabel(name)
    for axes in (grid[0, -1], grid[-1, -1]):
        axes.legend(loc="upper right", fontsize=8)
    where = one.where.removeprefix("dataset.path=")
    about = "" if len(channels) == len(names) else f"; {len(channels)} of {len(names)} channels"
    figure.suptitle(f"{where}: steps above the limit are shaded{about}")
    if len(parts) > 1:
        grid[0, 0].set_title("whole series", fontsize=10)
        grid[0, 1].set_title("around the worst step", fontsize=10)
    return figure


def rank_channels(made: StepResults, limit: float) -> list[int]:
    """List the channels, the one with the largest error in steps above the limit (else in all) first."""
    above = made.scores > limit
    chosen = above if above.any() else ~np.isnan(made.scores)
    found: list[int] = np.argsort(-made.squares[:, chosen].mean(1), kind="stable").tolist()
    return found


def find_stretches(above: np.ndarray) -> list[tuple[int, int]]:
    """List the stretches of steps that are true: the first step, and the one after the last."""
    edges = np.diff(np.concatenate(([0], above.astype(np.int8), [0])))
    begins, ends = (edges > 0).nonzero()[0].tolist(), (edges < 0).nonzero()[0].tolist()
    return list(zip(begins, ends, strict=True))


def _plot(axes: Axes, begin: int, values: np.ndarray, color: str, label: str) -> None:
    """Plot a curve of values from a step on; of many, the smallest and the largest of neighbors."""
    values, width = values.astype(float), -(-len(values) // POINTS)
    at = begin + np.arange(len(values))
    if width > 1:
        padded = np.pad(values, (0, -len(values) % width), constant_values=np.nan)
        rows = padded.reshape(-1, width)
        values = np.stack([np.fmin.reduce(rows, 1), np.fmax.reduce(rows, 1)], 1).ravel()
        at = begin + np.repeat(np.arange(len(rows)) * width, 2)
    axes.plot(at, values, color=color, linewidth=1, label=label)
