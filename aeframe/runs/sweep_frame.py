"""Sweep as a DataFrame: a row for each job, best first."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pandas as pd

from aeframe.config.plugins import Names
from aeframe.runs.run_results import Run

TABLE = "sweep.csv"


class SweepFrame(pd.DataFrame):  # type: ignore[misc]  # pandas has no hints
    """Results of a sweep, as in its sweep.csv. folder: of the sweep. plugins: see `aeframe.load`."""

    _metadata = ["folder", "plugins"]  # noqa: RUF012  # of pandas, which keeps these attributes in copies

    @classmethod
    def read(cls, folder: Path, plugins: Names = ()) -> SweepFrame:
        """Read the table of a sweep."""
        frame = cls(pd.read_csv(folder / TABLE, keep_default_na=True))
        frame.folder, frame.plugins = folder, plugins
        return frame

    @property
    def _constructor(self) -> Any:
        """Make plain DataFrames of parts of the table, such as some of its columns."""
        return pd.DataFrame

    @property
    def runs(self) -> list[Run]:
        """Runs of the jobs that have begun training, in the order of the rows."""
        folders = [self.folder / str(name) for name in self["folder"]]
        return [
            Run(folder, self.plugins) for folder in folders if (folder / "checkpoints").exists()
        ]

    def _repr_html_(self) -> str:
        """Show the table and the first picture of the best run, in a notebook."""
        table = pd.DataFrame(self).to_html(index=False, escape=True)
        place = f"<p>{html.escape(str(self.folder))}</p>"
        finished = [run for run in self.runs if run.is_finished]
        best = f"<p>Best:</p>{finished[0].show_picture()}" if finished else ""
        return f"{place}{table}{best}"
