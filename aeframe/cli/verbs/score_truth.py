"""Scores against the truth: which samples are outliers, by a file, and how well the scores find them."""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aeframe.cli.verbs.outputs import check_output_path, replace_file
from aeframe.core.errors import UserError, describe_error, shorten
from aeframe.evaluation.detection import Detection
from aeframe.monitoring.dashboard.chart import COLORS, Chart

COLUMN = "is_outlier"
MARKS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


@dataclass(frozen=True)
class Truth:
    """The truth on the samples, if the command names some. path: of the file. curves: of the picture."""

    path: str | None
    is_outlier: NDArray[np.bool_] | None
    curves: Path | None

    @staticmethod
    def read(options: argparse.Namespace) -> Truth:
        """Read the truth that the options name. Raises UserError."""
        if options.against is None:
            if options.curves is not None:
                raise UserError("--curves", "needs the truth", "Write --against FILE.")
            return Truth(None, None, None)
        drawn = options.curves is not None
        curves = check_output_path(options, (".png",), option="curves") if drawn else None
        return Truth(options.against, read_truth(options.against), curves)

    def refuse(self, what: str) -> None:
        """Raise UserError if there is a truth. what: why it is of no use."""
        if self.path is not None:
            raise UserError("--against", what, "Join the labels with the table of scores.")

    def require(self, count: int) -> None:
        """Raise UserError unless there is one mark for each of `count` samples."""
        if self.is_outlier is not None and len(self.is_outlier) != count:
            what = f"marks {len(self.is_outlier):,} samples, INPUT has {count:,}"
            remedy = "Give one mark for each sample, in their order."
            raise UserError(f"--against {self.path}", what, remedy)

    def report(self, scores: NDArray[Any]) -> None:
        """Print how well scores find the outliers, and draw the curves."""
        if self.is_outlier is None:
            return
        found = Detection.measure(scores, self.is_outlier)
        error = "" if found.auroc_error is None else f" ± {found.auroc_error:.3f}"
        print(
            f"Against {found.outliers:,} outliers among {found.samples:,}: AUROC {found.auroc:.3f}"
            f"{error}, average precision {found.average_precision:.3f} (by chance "
            f"{found.outliers / found.samples:.3f}), recall {found.recall_at_1:.3f} with 1% of false "
            f"alarms and {found.recall_at_5:.3f} with 5%"
        )
        if self.curves is not None:
            with replace_file(self.curves) as file:
                draw_curves(found).save(file, "PNG")
            print(f"Curves: {self.curves}")


def read_truth(path: str) -> NDArray[np.bool_]:
    """Read which samples are outliers, in the order of INPUT: an array of 0 and 1 in .npy, or a column of
    them in .csv, `is_outlier` or the only one. Raises UserError.
    """
    where, file = f"--against {path}", Path(os.path.expanduser(path))
    try:
        marks = _read_array(file) if file.suffix.lower() == ".npy" else _read_column(file, where)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise UserError(where, f"cannot be read: {describe_error(error)}") from error
    except ValueError as error:
        raise UserError(
            where, str(error), "Write 1 for an outlier and 0 for a usual sample."
        ) from error
    if marks.all() or not marks.any():
        what = f"marks {'all' if marks.all() else 'none'} of {len(marks):,} samples as outliers"
        raise UserError(where, what, "Write 1 for an outlier and 0 for a usual sample.")
    return marks


def _read_array(file: Path) -> NDArray[np.bool_]:
    found = np.load(file, allow_pickle=False)
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise ValueError("is not one column of numbers")
    if not np.isin(found, (0, 1)).all():
        raise ValueError("holds other numbers than 0 and 1")
    return np.asarray(found.astype(bool))


def _read_column(file: Path, where: str) -> NDArray[np.bool_]:
    with open(file, encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if not rows:
        raise ValueError("is empty")
    head = [cell.strip() for cell in rows[0]]
    has_head = any(cell.lower() not in MARKS for cell in head)
    if COLUMN in head:
        place = head.index(COLUMN)
    elif len(head) == 1:
        place = 0
    else:
        raise ValueError(f"has {len(head)} columns, none of which is called {COLUMN}")
    marks = list[bool]()
    for number, row in enumerate(rows[has_head:], 1 + has_head):
        cell = row[place].strip() if place < len(row) else ""
        if cell.lower() not in MARKS:
            raise ValueError(f"line {number}: {shorten(cell)!r} is neither 0 nor 1")
        marks.append(MARKS[cell.lower()])
    return np.array(marks, bool)


def draw_curves(found: Detection) -> Image.Image:
    """Draw the ROC curve and the curve of precision and recall side by side."""
    error = "" if found.auroc_error is None else f" ± {found.auroc_error:.3f}"
    chance = found.outliers / found.samples
    roc = Chart(
        "ROC curve",
        f"area {found.auroc:.3f}{error}; dashed: by chance",
        "false alarms: share of usual samples",
        "found: share of outliers (recall)",
    )
    roc.axes.plot(*found.roc, color=COLORS[0], linewidth=2)
    roc.axes.plot([0, 1], [0, 1], "--", color="black", linewidth=0.8)
    precision = Chart(
        "Precision and recall",
        f"average precision {found.average_precision:.3f}; dashed: by chance",
        "found: share of outliers (recall)",
        "outliers among alarms (precision)",
    )
    precision.axes.step(*found.precision_recall, where="post", color=COLORS[0], linewidth=2)
    precision.axes.axhline(chance, linestyle="--", color="black", linewidth=0.8)
    charts = []
    for chart in (roc, precision):
        chart.axes.set_xlim(-0.01, 1.01)
        chart.axes.set_ylim(-0.01, 1.02)
        charts.append(chart.render())
    whole = Image.new("RGB", (sum(chart.width for chart in charts), charts[0].height), "white")
    whole.paste(charts[0], (0, 0))
    whole.paste(charts[1], (charts[0].width, 0))
    return whole
