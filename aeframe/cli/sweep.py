"""The table of a sweep, sorted by the optimized metric."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from aeframe.cli.sweep_notes import UNITS, explain_columns, explain_prices, explain_trade
from aeframe.core.errors import shorten
from aeframe.core.plain import as_mapping
from aeframe.core.regular_files import read_text
from aeframe.core.strict_json import format_cell
from aeframe.evaluation.tradeoffs import Trade, list_trading_keys, mark_unbeaten
from aeframe.runs.evaluation_file import LARGEST, UNREADABLE, read_evaluation, read_number

FAILED = "failed.txt"
LOSS = "val/loss"
NORMALIZATION, USUAL = "dataset.normalization", "unit"
"""The key, and its value in older runs, which did not record it."""
SHOWN = ("mse", "psnr", "copied", "l0", "dead", "gain_db", "nll")
"""Test metrics in the printed table, if any job has them. The CSV file has all."""


@dataclass
class Job:
    """One job of a sweep, read from its folder.

    value: that of the optimized metric; None if the job failed or the value is infinite. error: the reason
    of a failure.
    """

    folder: Path
    overrides: dict[str, str]
    value: float | None = None
    error_in_validation: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    normalization: str = ""
    error: str = ""
    copies: bool = False
    is_validated: bool = True
    trade: Trade | None = None
    is_unbeaten: bool = False


class SweepTable(Callback):
    """A callback of Hydra that, after a sweep, prints its jobs, best first, and writes sweep.csv."""

    failures: ClassVar[int] = 0
    """Number of failed jobs in the last sweep of this process."""
    folder: ClassVar[Path | None] = None
    """Folder of the sweep that this process has begun."""
    is_shown: ClassVar[bool] = False
    """True once the table of this sweep was printed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the folder. Hydra calls this in the process that starts the sweep."""
        SweepTable.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show the table. Hydra calls this in the process that started the sweep."""
        show_table(Path(config.hydra.sweep.dir))


def show_table(folder: Path) -> None:
    """Print and write the table of a sweep."""
    jobs, metric, direction = read_jobs(folder)
    varied = _find_varied(jobs)
    traded = _weigh(jobs, varied)
    if traded and metric == LOSS:  # losses with different weights cannot be compared
        metric, direction = f"val/{traded.error}", "min"
        for job in jobs:
            job.value = job.trade.values[0] if job.trade else None
    jobs.sort(key=lambda job: _rank(job, direction))
    _write_csv(folder / "sweep.csv", jobs, varied, metric, traded)
    _print(jobs, varied, metric, folder, traded)
    SweepTable.failures, SweepTable.is_shown = sum(bool(job.error) for job in jobs), True


def show_unfinished() -> None:
    """Print the table of a sweep that an exception has ended, if it has begun a job."""
    folder = SweepTable.folder
    if folder is not None and not SweepTable.is_shown and read_jobs(folder)[0]:
        show_table(folder)


def read_jobs(folder: Path) -> tuple[list[Job], str, str]:
    """Read the jobs in the folder of a sweep, the name of the optimized metric, and `min` or `max`."""
    jobs, optimized = list[Job](), dict[str, str]()
    for overrides in sorted(folder.glob("**/.hydra/overrides.yaml")):
        job = Job(overrides.parent.parent, _read_overrides(overrides))
        if (job.folder / FAILED).exists():
            job.error = _read_first_line(job.folder / FAILED) or "failed"
        else:
            optimized |= _read_evaluation(job)
        jobs.append(job)
    if len(optimized) == 1:
        return jobs, *optimized.popitem()
    for job in jobs:  # their optimized metrics differ, and cannot be compared
        job.value = job.error_in_validation
    return jobs, "val/mse", "min"


def _read_evaluation(job: Job) -> dict[str, str]:
    """Read the results of a job into it. Returns its optimized metric, with the direction."""
    try:
        if (card := read_evaluation(job.folder)) is None:
            job.error = "did not finish"
            return {}
        by, check = card["optimized_metric"], as_mapping(card["copy_check"])
        found = {str(name): read_number(value) for name, value in card["metrics"].items()}
        metrics = {name: value for name, value in found.items() if value is not None}
        if check:  # none for targets that are not the samples
            metrics["copied"] = read_number(check["copied"]) or 0.0
        validation = card["validation"]
        value, error_in_validation = read_number(by["value"]), read_number(validation.get("mse"))
        name, direction = str(by["name"]), str(by["direction"])
        job.is_validated, job.copies = bool(validation), bool(check) and not check["passed"]
        # older runs did not record it
        job.normalization = shorten(
            card.get("normalization") or job.overrides.get(NORMALIZATION, USUAL)
        )
        job.trade = Trade.read(card.get("trade"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        job.error = UNREADABLE
        return {}
    job.value, job.error_in_validation, job.metrics = value, error_in_validation, metrics
    return {shorten(name): direction}


def _read_overrides(file: Path) -> dict[str, str]:
    try:
        words = yaml.safe_load(read_text(file, LARGEST))
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        return {}
    texts = (word for word in words if isinstance(word, str)) if isinstance(words, list) else ()
    written = (word.lstrip("+~").partition("=") for word in texts)
    return {key: value for key, _, value in written}


def _read_first_line(file: Path) -> str:
    try:
        return shorten(read_text(file, LARGEST).partition("\n")[0])
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class Traded:
    """A trade-off between the jobs of a sweep. keys: the swept keys. error, price: its two sides."""

    keys: list[str]
    error: str
    price: str


def _weigh(jobs: list[Job], varied: list[str]) -> Traded | None:
    """Mark the jobs that no other beats, if the jobs trade error for a cheaper code."""
    weighed = [(job, job.trade) for job in jobs if job.trade is not None]
    trades = [trade for _, trade in weighed]
    keys, front = list_trading_keys(varied, trades), mark_unbeaten(trades)
    sides = (
        (t.error, t.price) for t, is_unbeaten in zip(trades, front, strict=True) if is_unbeaten
    )
    # units, active units and nats cannot be compared
    if not keys or max(Counter(sides).values()) < 2:
        return None
    for (job, _), is_unbeaten in zip(weighed, front, strict=True):
        job.is_unbeaten = is_unbeaten
    return Traded(keys, trades[0].error, " or ".join(_list_prices(jobs)))


def _list_prices(jobs: list[Job]) -> list[str]:
    """Name the costs of the jobs' codes."""
    return list(dict.fromkeys(job.trade.price for job in jobs if job.trade is not None))


def _rank(job: Job, direction: str) -> tuple[bool, bool, float]:
    """Sort key: the best job first, then jobs without a value, then failed jobs."""
    value = 0.0 if job.value is None else job.value
    return bool(job.error), job.value is None, value if direction == "min" else -value


def _find_varied(jobs: list[Job]) -> list[str]:
    """Find the keys in which the jobs differ."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    varied = [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]
    return [key for key in varied if key != "resume"]  # it does not define a job


def _write_csv(
    file: Path, jobs: list[Job], varied: list[str], metric: str, traded: Traded | None
) -> None:
    metrics = list(dict.fromkeys(name for job in jobs for name in job.metrics))
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        tests = [f"test/{name}" for name in metrics]
        sides = ["price", "unbeaten"] if traded else []
        writer.writerow(["rank", *varied, metric, *sides, *tests, "status", "folder"])
        for rank, job in enumerate(jobs, 1):
            chosen = [job.overrides.get(key, "") for key in varied]
            values = [job.metrics.get(name, "") for name in metrics]
            status = job.error or "done"
            value = "" if job.value is None else job.value
            price = "" if job.trade is None else job.trade.values[1]
            both = [price, "yes" if job.is_unbeaten else "no"] if traded else []
            writer.writerow([rank, *chosen, value, *both, *values, status, job.folder.name])


def _print(
    jobs: list[Job], varied: list[str], metric: str, folder: Path, traded: Traded | None
) -> None:
    console = Console(soft_wrap=True, markup=False)
    present = [name for name in SHOWN if any(name in job.metrics for job in jobs)]
    table = _make_table(jobs, varied, metric, traded, present)
    while present and table.__rich_measure__(console, console.options).maximum > console.width:
        table = _make_table(jobs, varied, metric, traded, present := present[:-1])
    console.print(table)
    for job in jobs:
        if job.error:
            console.print(f"failed: {job.folder}: {job.error}", style="red")
    for line in explain_columns(present):
        console.print(line, highlight=False)
    if traded:
        console.print(explain_trade(traded.keys, traded.error, _list_prices(jobs)), highlight=False)
    elif jobs and jobs[0].value is not None:
        note = "  (but it copies its input)" if jobs[0].copies else ""
        console.print(f"Best run: {jobs[0].folder}{note}", highlight=False)
        if len(prices := _list_prices(jobs)) > 1:
            console.print(f"Note:     {explain_prices(prices)}", highlight=False)
    elif not all(job.is_validated for job in jobs):
        console.print("No best run: nothing was validated (dataset.val_fraction=0).")
    kinds = {job.normalization for job in jobs if job.value is not None}
    if len(kinds) > 1 and metric != "val/psnr":
        console.print(f"Note:     {UNITS.format(metric)}", highlight=False)
    console.print(f"Table:    {folder / 'sweep.csv'}", highlight=False)
    look = f"tensorboard --logdir {shlex.quote(str(folder))}"
    console.print(f"Compare:  {look}", highlight=False)


def _make_table(
    jobs: list[Job], varied: list[str], metric: str, traded: Traded | None, present: list[str]
) -> Table:
    table = Table(title=f"{len(jobs)} jobs by {metric}", title_justify="left")
    price = (
        [traded.price]
        if traded and not {traded.price, f"model.{traded.price}"} & {*varied, *present}
        else []
    )
    for column in ("", *varied, metric, *price, *present, "job"):
        table.add_column(column, justify="left" if column in ("job", *varied) else "right")
    for rank, job in enumerate(jobs, 1):
        chosen = [job.overrides.get(key, "") for key in varied]
        number = job.folder.name.partition("_")[0]
        if job.error:
            empty = [""] * len([*price, *present])
            table.add_row("-", *chosen, "failed", *empty, number, style="red")
            continue
        shown = [format_cell(job.metrics.get(name), ".4g") for name in present]
        paid = [format_cell(job.trade.values[1] if job.trade else None, ".4g") for _ in price]
        place = "*" * job.is_unbeaten if traded else str(rank)
        table.add_row(place, *chosen, format_cell(job.value, ".5g"), *paid, *shown, number)
    return table
