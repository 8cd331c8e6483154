"""The end of a sweep: one sorted table."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from aeframe.strict_json import cell, finite

FAILED = "failed.txt"
NORMALIZATION = "dataset.normalization"
SHOWN = ("mse", "psnr", "copied", "l0", "dead", "gain_db", "nll")
"""Test metrics in the table's columns, where any job has them; the CSV file has all."""

UNITS = (
    "{} is in units of dataset.normalization, which the jobs do not share. Write "
    "optimized_metric=val/psnr to compare them."
)


@dataclass
class Job:
    """One job of a sweep, as its folder tells it.

    value: of the optimized metric; None if it failed, or if it is infinite. error: why it failed.
    """

    folder: Path
    overrides: dict[str, str]
    value: float | None = None
    error_in_validation: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    normalization: str = ""
    error: str = ""
    copies: bool = False


class SweepTable(Callback):
    """After a sweep, prints its jobs, best first, and writes sweep.csv."""

    failures: ClassVar[int] = 0
    """How many jobs of the last sweep of this process failed."""
    folder: ClassVar[Path | None] = None
    """Where this process has begun a sweep."""
    is_shown: ClassVar[bool] = False
    """Whether its table was printed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this in the process that starts the sweep."""
        SweepTable.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this in the process that started the sweep."""
        show_table(Path(config.hydra.sweep.dir))


def show_table(folder: Path) -> None:
    """Print and write the table of a sweep."""
    jobs, metric, direction = read_jobs(folder)
    jobs.sort(key=lambda job: _order(job, direction))
    varied = _varied(jobs)
    _write_csv(folder / "sweep.csv", jobs, varied, metric)
    _print(jobs, varied, metric, folder)
    SweepTable.failures, SweepTable.is_shown = sum(bool(job.error) for job in jobs), True


def show_unfinished() -> None:
    """Print the table of a sweep that an exception has ended, if it has begun a job."""
    folder = SweepTable.folder
    if folder is not None and not SweepTable.is_shown and read_jobs(folder)[0]:
        show_table(folder)


def read_jobs(folder: Path) -> tuple[list[Job], str, str]:
    """The jobs in a sweep's folder, the optimized metric's name, and `min` or `max`."""
    jobs, optimized = list[Job](), dict[str, str]()
    for overrides in sorted(folder.glob("**/.hydra/overrides.yaml")):
        job = Job(overrides.parent.parent, _overrides(overrides))
        failed = job.folder / FAILED
        if failed.exists():
            job.error = failed.read_text(errors="replace").partition("\n")[0] or "failed"
        elif (job.folder / "evaluation.json").exists():
            optimized |= _evaluation(job)
        else:
            job.error = "did not finish"
        jobs.append(job)
    if len(optimized) == 1:
        return jobs, *optimized.popitem()
    for job in jobs:  # they optimized different things, of which no order can be made
        job.value = job.error_in_validation
    return jobs, "val/mse", "min"


def _evaluation(job: Job) -> dict[str, str]:
    """Let the job know what its evaluation says. The metric that it optimized, and its direction."""
    try:
        card = json.loads((job.folder / "evaluation.json").read_text())
        by, check = card["optimized_metric"], card["copy_check"]
        found = {str(name): finite(value) for name, value in card["metrics"].items()}
        metrics = {name: value for name, value in found.items() if value is not None}
        metrics["copied"] = float(check["copied"])
        job.value, job.error_in_validation = finite(by["value"]), finite(card["validation"]["mse"])
        job.metrics, job.copies = metrics, not check["passed"]
        # older runs did not choose it
        job.normalization = str(card.get("normalization") or job.overrides.get(NORMALIZATION, ""))
        return {str(by["name"]): str(by["direction"])}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        job.error = "its evaluation.json cannot be read"
        return {}


def _overrides(file: Path) -> dict[str, str]:
    try:
        words = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError):
        return {}
    written = (str(word).lstrip("+~").partition("=") for word in words or ())
    return {key: value for key, _, value in written}


def _order(job: Job, direction: str) -> tuple[bool, bool, float]:
    """Best first, then what has no number, then what failed."""
    value = 0.0 if job.value is None else job.value
    return bool(job.error), job.value is None, value if direction == "min" else -value


def _varied(jobs: list[Job]) -> list[str]:
    """The keys in which the jobs differ."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    varied = [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]
    return [key for key in varied if key != "resume"]  # which is no choice of theirs


def _write_csv(file: Path, jobs: list[Job], varied: list[str], metric: str) -> None:
    metrics = list(dict.fromkeys(name for job in jobs for name in job.metrics))
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        tests = [f"test/{name}" for name in metrics]
        writer.writerow(["rank", *varied, metric, *tests, "status", "folder"])
        for rank, job in enumerate(jobs, 1):
            chosen = [job.overrides.get(key, "") for key in varied]
            values = [job.metrics.get(name, "") for name in metrics]
            status = job.error or "done"
            value = "" if job.value is None else job.value
            writer.writerow([rank, *chosen, value, *values, status, job.folder.name])


def _print(jobs: list[Job], varied: list[str], metric: str, folder: Path) -> None:
    console = Console(soft_wrap=True, markup=False)
    present = [name for name in SHOWN if any(name in job.metrics for job in jobs)]
    table = _table(jobs, varied, metric, present)
    while present and table.__rich_measure__(console, console.options).maximum > console.width:
        table = _table(jobs, varied, metric, present := present[:-1])
    console.print(table)
    for job in jobs:
        if job.error:
            console.print(f"failed: {job.folder}: {job.error}", style="red")
    if jobs and jobs[0].value is not None:
        note = "  (but it copies its input)" if jobs[0].copies else ""
        console.print(f"Best run: {jobs[0].folder}{note}", highlight=False)
    kinds = {job.normalization for job in jobs if job.value is not None}
    if len(kinds) > 1 and metric != "val/psnr":
        console.print(f"Note:     {UNITS.format(metric)}", highlight=False)
    console.print(f"Table:    {folder / 'sweep.csv'}", highlight=False)
    look = f"tensorboard --logdir {shlex.quote(str(folder))}"
    console.print(f"Compare:  {look}", highlight=False)


def _table(jobs: list[Job], varied: list[str], metric: str, present: list[str]) -> Table:
    table = Table(title=f"{len(jobs)} jobs by {metric}", title_justify="left")
    for column in ("", *varied, metric, *present, "job"):
        table.add_column(column, justify="left" if column in ("job", *varied) else "right")
    for rank, job in enumerate(jobs, 1):
        chosen = [job.overrides.get(key, "") for key in varied]
        number = job.folder.name.partition("_")[0]
        if job.error:
            table.add_row("-", *chosen, "failed", *[""] * len(present), number, style="red")
            continue
        shown = [cell(job.metrics.get(name), ".4g") for name in present]
        table.add_row(str(rank), *chosen, cell(job.value, ".5g"), *shown, number)
    return table
