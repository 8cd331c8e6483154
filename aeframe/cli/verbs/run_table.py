"""The verb runs: a table of the runs below a folder."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aeframe.cli.verbs.verb import Verb
from aeframe.core.errors import UserError, shorten
from aeframe.core.plain import as_mapping
from aeframe.core.regular_files import read_text
from aeframe.core.strict_json import format_cell, format_json
from aeframe.runs.evaluation_file import LARGEST, UNREADABLE, read_evaluation, read_number
from aeframe.runs.evaluation_file import NAME as EVALUATION


@dataclass(frozen=True)
class Run:
    """One run, as its folder describes it.

    folder: its path as one would type it. when: the time of the last result. value: that of `metric`.
    """

    folder: str
    when: str
    model: str
    constraint: str
    dataset: str
    status: str
    metric: str
    value: float | None


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="outputs", metavar="FOLDER", help="(outputs)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list_runs(options: argparse.Namespace) -> None:
    top = Path(os.path.expanduser(options.folder))
    if not top.is_dir():
        raise UserError(options.folder, "no such folder", "Write aeframe runs FOLDER.")
    found = sorted((_read(folder) for folder in _find_runs(top)), key=lambda run: run.when)
    found.reverse()
    if options.json:
        print(format_json([asdict(run) for run in found]))
        return
    if not found:
        raise UserError(options.folder, "holds no runs")
    _print(found, options.folder)


def _find_runs(top: Path) -> Iterator[Path]:
    """Find the folders of runs, at any depth, without following links."""
    for folder, inner, files in os.walk(top):
        marks = {".hydra", "checkpoints"} & set(inner)
        if "multirun.yaml" not in files and marks:
            inner.clear()  # no run lies inside another
            yield Path(folder)


def _read(folder: Path) -> Run:
    config, unreadable = _read_config(folder), False
    by: Mapping[str, Any] = {}
    try:
        evaluation = read_evaluation(folder)
        by = as_mapping((evaluation or {}).get("optimized_metric"))
        value = read_number(by.get("value"))
    except ValueError:
        evaluation, value, unreadable = None, None, True
    if (folder / "failed.txt").exists():
        status = "failed"
    elif unreadable:
        status = UNREADABLE
    elif evaluation or (folder / "model.safetensors").exists():
        status = "finished"
    else:
        status = "training" if _is_locked(folder) else "interrupted"
    return Run(
        str(folder),
        _find_time(folder),
        _read_class(config.get("model")),
        "+".join(shorten(name, 40) for name in as_mapping(config.get("constraint"))) or "free",
        _read_class(config.get("dataset")),
        status,
        _find_metric(by, config),
        value,
    )


def _find_metric(by: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Find the name of the optimized metric: in the results, else by the configuration."""
    name = by.get("name") or config.get("optimized_metric")
    if name == "auto":
        # takes a second, and few tables need it
        from aeframe.config.optimized_metric import resolve_optimized_metric

        name = resolve_optimized_metric(config)
    return shorten(name, 40) if isinstance(name, str) and name != "auto" else ""


def _find_time(folder: Path) -> str:
    """Find the time of the last result, as text."""
    for name in (EVALUATION, "checkpoints/last.ckpt", ""):
        # deleted meanwhile, or an impossible time
        with suppress(OSError, ValueError, OverflowError):
            when = datetime.fromtimestamp((folder / name).stat().st_mtime)
            return when.strftime("%Y-%m-%d %H:%M")
    return ""


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Read the configuration of a run, as saved with the model or by Hydra."""
    with suppress(OSError, ValueError, RecursionError):
        saved = as_mapping(json.loads(read_text(folder / "model.json", LARGEST)))
        if found := as_mapping(saved.get("config")):
            return found
    import yaml

    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        text = read_text(folder / ".hydra" / "config.yaml", LARGEST)
        return as_mapping(yaml.safe_load(text))
    return {}


def _is_locked(folder: Path) -> bool:
    """Check whether a process holds the lock of the run."""
    import fcntl

    try:
        with (folder / ".lock").open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read_class(node: Any) -> str:
    target = as_mapping(node).get("_target_")
    return shorten(target.rpartition(".")[2], 40) if isinstance(target, str) else ""


def _print(found: list[Run], top: str) -> None:
    from rich.console import Console
    from rich.table import Table

    count = f"{len(found)} run{'' if len(found) == 1 else 's'}"
    table = Table(title=f"{count} below {top}", title_justify="left")
    for column in ("when", "model", "constraint", "dataset", "status", "metric", "value", "folder"):
        right = column == "value"
        table.add_column(column, justify="right" if right else "left", no_wrap=column == "when")
    styles = {"failed": "red", UNREADABLE: "red", "interrupted": "yellow", "training": "cyan"}
    for run in found:
        value = format_cell(run.value, ".5g") if run.status == "finished" else ""
        kinds = (run.model, run.constraint, run.dataset, run.status, run.metric)
        table.add_row(run.when, *kinds, value, run.folder, style=styles.get(run.status))
    console = Console(highlight=False, markup=False)
    wanted = table.__rich_measure__(console, console.options.update(width=10_000)).maximum
    if not console.is_terminal:  # a file has no width
        console.width = max(console.width, wanted)
    console.print(table)


VERBS = (
    Verb(
        "runs",
        "the runs below a folder, newest first",
        "aeframe runs outputs",
        _add_arguments,
        _list_runs,
    ),
)
