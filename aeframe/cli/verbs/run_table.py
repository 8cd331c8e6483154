"""The table of the runs below a folder."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aeframe.cli.verbs.verb import Verb
from aeframe.core.errors import UserError, shorten
from aeframe.core.regular_files import read_text
from aeframe.core.strict_json import format_cell, format_json
from aeframe.runs.evaluation_file import LARGEST, UNREADABLE, number, read_evaluation
from aeframe.runs.evaluation_file import NAME as EVALUATION


@dataclass(frozen=True)
class Run:
    """What a run's folder says.

    folder: as one would type it. when: something was last written that counts. value: of `metric`.
    """

    folder: str
    when: str
    model: str
    constraint: str
    dataset: str
    status: str
    metric: str
    value: float | None


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="outputs", metavar="FOLDER", help="(outputs)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _runs(options: argparse.Namespace) -> None:
    top = Path(os.path.expanduser(options.folder))
    if not top.is_dir():
        raise UserError(options.folder, "no such folder", "Write aeframe runs FOLDER.")
    found = sorted((_read(folder) for folder in _folders(top)), key=lambda run: run.when)
    found.reverse()
    if options.json:
        print(format_json([asdict(run) for run in found]))
        return
    if not found:
        raise UserError(options.folder, "holds no runs")
    _print(found, options.folder)


def _folders(top: Path) -> Iterator[Path]:
    """Those of runs, at any depth; no link is followed."""
    for folder, inner, files in os.walk(top):
        marks = {".hydra", "checkpoints"} & set(inner)
        if "multirun.yaml" not in files and marks:
            inner.clear()  # no run lies in another
            yield Path(folder)


def _read(folder: Path) -> Run:
    config, unreadable = _config(folder), False
    by: dict[str, Any] = {}
    try:
        evaluation = read_evaluation(folder)
        by = _mapping((evaluation or {}).get("optimized_metric"))
        value = number(by.get("value"))
    except ValueError:
        evaluation, value, unreadable = None, None, True
    if (folder / "failed.txt").exists():
        status = "failed"
    elif unreadable:
        status = UNREADABLE
    elif evaluation or (folder / "model.safetensors").exists():
        status = "finished"
    else:
        status = "training" if _is_at_work(folder) else "interrupted"
    return Run(
        str(folder),
        _when(folder),
        _named(config.get("model")),
        "+".join(shorten(name, 40) for name in _mapping(config.get("constraint"))) or "free",
        _named(config.get("dataset")),
        status,
        _metric(by, config),
        value,
    )


def _metric(by: dict[str, Any], config: dict[str, Any]) -> str:
    """The name of the optimized metric; of a run that has not ended, by its configuration."""
    name = by.get("name") or config.get("optimized_metric")
    if name == "auto":
        from aeframe.config.optimized_metric import (
            optimized_metric,  # a second, which few tables need
        )

        name = optimized_metric(config)
    return shorten(name, 40) if isinstance(name, str) and name != "auto" else ""


def _when(folder: Path) -> str:
    """The time at which something was last written that counts."""
    for name in (EVALUATION, "checkpoints/last.ckpt", ""):
        with suppress(
            OSError, ValueError, OverflowError
        ):  # deleted by now, or of no calendar's time
            return datetime.fromtimestamp((folder / name).stat().st_mtime).strftime(
                "%Y-%m-%d %H:%M"
            )
    return ""


def _config(folder: Path) -> dict[str, Any]:
    """The run's configuration, as the model or Hydra kept it."""
    if found := _mapping(_json(folder / "model.json").get("config")):
        return found
    import yaml

    try:
        return _mapping(yaml.safe_load(_text(folder / ".hydra" / "config.yaml")))
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}


def _json(file: Path) -> dict[str, Any]:
    try:
        return _mapping(json.loads(_text(file)))
    except (ValueError, RecursionError):
        return {}


def _text(file: Path) -> str:
    with suppress(OSError, ValueError):
        return read_text(file, LARGEST)
    return ""


def _is_at_work(folder: Path) -> bool:
    """Whether a process holds the run's lock."""
    import fcntl

    try:
        with (folder / ".lock").open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(node: Any) -> str:
    target = _mapping(node).get("_target_")
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
        _arguments,
        _runs,
    ),
)
