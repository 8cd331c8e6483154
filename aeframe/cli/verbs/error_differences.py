"""Differences between the test errors of runs, with intervals: which of them are real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aeframe.cli.verbs.outputs import replace_file
from aeframe.monitoring.dashboard.chart import COLORS, Chart
from aeframe.runs.test_errors import Interval, read_test_errors

UNCLEAR = "#888888"
LONG = 48  # characters of a run's name


def list_intervals(folders: Sequence[str]) -> list[Interval] | None:
    """Compare the test errors of each run with those of the first: theirs less those of the first.

    None unless all runs have errors of the same samples.
    """
    found = [read_test_errors(Path(folder).expanduser()) for folder in folders]
    first, *others = found
    if first is None:
        return None
    known = [other for other in others if other is not None and other.is_of_same_samples(first)]
    return [other.compare(first) for other in known] if len(known) == len(others) else None


def describe_interval(interval: Interval, first: str) -> str:
    """Say whether the error clearly differs from that of the first run."""
    bounds = f"{interval.difference:+.3g} [{interval.low:+.3g}, {interval.high:+.3g}]"
    if not interval.is_clear:
        return f"its test MSE does not clearly differ from that of {first}: {bounds}, 95 % interval"
    side = "smaller" if interval.high < 0 else "larger"
    return f"its test MSE is clearly {side} than that of {first}: {bounds}, 95 % interval"


def draw_intervals(out: Path, folders: Sequence[str], intervals: Sequence[Interval]) -> None:
    """Draw the intervals as a picture in .png, one row for each run but the first."""
    chart = Chart(
        f"Test MSE less that of {_shorten(folders[0])}",
        "dot: difference; line: 95 % interval; gray: unclear",
        "difference of the mean squared errors",
        "",
    )
    rows = range(len(intervals))
    for row, interval in zip(rows, intervals, strict=True):
        color = COLORS[0] if interval.is_clear else UNCLEAR
        chart.axes.plot([interval.low, interval.high], [row, row], color=color, linewidth=2)
        chart.axes.plot([interval.difference], [row], "o", color=color)
        name = _shorten(folders[1 + row])
        chart.axes.text(0.01, row - 0.12, name, transform=chart.axes.get_yaxis_transform())
    chart.axes.axvline(0, color="black", linewidth=0.8)
    chart.axes.set_yticks([])
    chart.axes.set_ylim(len(intervals) - 0.5, -0.6)
    with replace_file(out) as file:
        chart.render().save(file, "PNG")


def _shorten(folder: str) -> str:
    name = Path(folder).name
    return name if len(name) <= LONG else f"{name[: LONG // 2 - 1]}...{name[2 - LONG // 2 :]}"
