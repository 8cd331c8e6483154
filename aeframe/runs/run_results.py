"""Run: the results in a run's folder, for notebooks and programs."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.config.plugins import Names
from aeframe.core.errors import UserError
from aeframe.core.local_paths import expand_path
from aeframe.core.strict_json import format_cell
from aeframe.runs.evaluation_file import NAME, read_evaluation
from aeframe.runs.folder import has_run
from aeframe.runs.model import Model
from aeframe.runs.model_file import load

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL.Image import Image

CURVES, PICTURES = "metrics.csv", "pictures"
RESULTS = ("metrics", "validation", "baselines")
"""Mappings that evaluation.json has."""
ERROR = "mse"
TABLE = ("mse", "psnr")
"""Metrics that baselines have, too."""


class Pictures(dict[str, "Image"]):
    """Pictures by name, which a notebook shows below each other."""

    def _repr_html_(self) -> str:
        shown = list[str]()
        for name, picture in self.items():
            picture.save(content := io.BytesIO(), "PNG")
            shown.append(f"<p>{html.escape(name)}<br>{_embed(name, content.getvalue())}</p>")
        return "".join(shown)


class Run:
    """A training run, finished or not, begun from Python or from the command line.

    where: its folder. plugins: see `aeframe.load`. Raises UserError if there is no run.
    """

    def __init__(self, where: str | os.PathLike[str], plugins: Names = ()) -> None:
        self.plugins = plugins
        name = os.fspath(where)
        self.folder = expand_path(name, name).resolve()
        if not (self.folder.is_dir() and has_run(self.folder)):
            raise UserError(name, "is not the folder of a run", "Give the folder of one run.")

    def __repr__(self) -> str:
        """Name the model and its error, and the folder."""
        about = repr(self.model)[1:-1] if self.is_finished else "not finished"
        return f"<aeframe.Run {about.removeprefix('aeframe.Model ')}, {self.folder}>"

    @property
    def is_finished(self) -> bool:
        """Check whether training and its test have ended."""
        return (self.folder / "evaluation.json").is_file()

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """Contents of evaluation.json. Raises UserError for a run that has not finished."""
        onward = f"aeframe.train(['resume={self.folder}'])"
        try:
            found = read_evaluation(self.folder)
            if found is not None:
                _require_results(found)
        except ValueError as error:
            what, remedy = (
                f"is not the result of a run ({error})",
                f"Delete it, and write {onward}.",
            )
            raise UserError(str(self.folder / NAME), what, remedy) from error
        if found is None:
            raise UserError(str(self.folder), "has not finished", f"Continue it: {onward}.")
        return found

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics of the test and the validation split, e.g. "test/mse" and "val/psnr".

        As in evaluation.json: errors per element in normalized units, losses in nats.
        """
        splits = {"test": self.evaluation["metrics"], "val": self.evaluation["validation"]}
        return {f"{split}/{k}": v for split, found in splits.items() for k, v in found.items()}

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of the mean and of PCA, by name."""
        return dict(self.evaluation["baselines"])

    @cached_property
    def model(self) -> Model:
        """The trained network with its best weights, which encodes, decodes and scores."""
        return load(self.folder, plugins=self.plugins)

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration, with the values that `auto` became."""
        return self.model.config

    def curves(self) -> pd.DataFrame:
        """Return all curves: a row for each logged step, a column for each curve. Needs pandas."""
        pandas = require("pandas", "run.curves()")
        file = self.folder / CURVES
        if not file.is_file():
            remedy = "TensorBoard shows the curves of older runs."
            raise UserError(str(file), "does not exist", remedy)
        return pandas.read_csv(file)

    def plot(self, metric: str = ERROR) -> Figure:
        """Plot a metric in training and validation over the steps. metric: e.g. mse, psnr or loss."""
        require("matplotlib", "run.plot()")
        from aeframe.runs.notebook_figure import NotebookFigure

        curves = self.curves()
        names = [name for name in (f"train/{metric}", f"val/{metric}") if name in curves]
        if not names:
            known = sorted({name.partition("/")[2] for name in curves if "/" in name})
            what, remedy = "is not a curve of this run", f"There are {', '.join(known)}."
            raise UserError(f"metric={metric}", what, remedy)
        figure = NotebookFigure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        values = []
        for name, color in zip(names, ("#94a4a2", "#3f90da"), strict=False):
            points = curves[["step", name]].dropna()
            split = name.partition("/")[0]
            label = {"train": "training", "val": "validation"}[split]
            axes.plot(points["step"], points[name], color=color, label=label, marker=".")
            values += points[name].tolist()
        if values and min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log")
        axes.set(title=self._describe_title(metric), xlabel="optimizer steps", ylabel=metric)
        axes.grid(alpha=0.3)
        axes.legend()
        return figure

    def _describe_title(self, metric: str) -> str:
        return f"{metric} of {self.folder.name}"

    def pictures(self) -> Pictures:
        """Return the dashboard's pictures by name, in their order, e.g. "reconstructions"."""
        from PIL import Image

        found = Pictures()
        for file in self._list_pictures():
            with Image.open(file) as picture:
                found[file.stem.partition("_")[2]] = picture.copy()
        return found

    def _list_pictures(self) -> list[Path]:
        found = (self.folder / PICTURES).glob("[0-9][0-9]_*.png")
        return sorted(file for file in found if file.is_file() and not file.is_symlink())

    def _repr_html_(self) -> str:
        """Show the table of results and the first picture, in a notebook."""
        if not self.is_finished:
            return f"<p>{html.escape(repr(self))}</p>"
        columns = {"model": self.evaluation["metrics"], **self.baselines}
        rows = [
            (name, [format_cell(found.get(name), ".4g") for found in columns.values()])
            for name in dict.fromkeys([*TABLE, *self.evaluation["metrics"]])
        ]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("test", *columns))
        body = "".join(
            f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"
            for name, cells in rows
        )
        title = f"<p>{html.escape(repr(self.model)[1:-1])}<br>{html.escape(str(self.folder))}</p>"
        return f"{title}<table><tr>{head}</tr>{body}</table>{self.show_picture()}"

    def show_picture(self) -> str:
        """Return the first picture of the dashboard as HTML; an empty text without one."""
        for file in self._list_pictures()[:1]:
            return _embed(file.stem[3:], file.read_bytes())
        return ""


def _embed(name: str, content: bytes) -> str:
    """Embed the content of a PNG file in HTML."""
    encoded = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(name, quote=True)}" src="data:image/png;base64,{encoded}">'


def _require_results(found: Mapping[str, Any]) -> None:
    """Raise ValueError if a part of evaluation.json that each run writes is missing."""
    for key in RESULTS:
        if not isinstance(found.get(key), Mapping):
            raise ValueError(f"it has no {key}")


def require(name: str, what: str) -> Any:
    """Import a package of an extra. Raises UserError with the command that installs it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        remedy = f"Install it: python -m pip install {package}."
        raise UserError(what, f"needs {package}", remedy) from error
