"""The verb runs: a table of the runs below a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli.verbs.run_records import Run, find_runs, read_run
from aeframe.cli.verbs.verb import Verb
from aeframe.core.errors import UserError, find_closest
from aeframe.core.plain import as_mapping, flatten
from aeframe.core.strict_json import format_cell, format_json
from aeframe.runs.evaluation_file import UNREADABLE

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = "when,model,constraint,dataset,code,seed,status,mse,metric,value,folder"
LEAST_NEEDED = ("seed", "code", "dataset", "when", "status", "constraint", "metric", "value")
"""Columns to leave out of a table that is too wide, the first one first."""
WIDTH = 100
"""Width of a table in a file, and the least width in a terminal."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="outputs", metavar="FOLDER", help="default: outputs"
    )
    parser.add_argument(
        "--sort",
        metavar="KEY",
        help="sort by a column, metrics by their best value (default: newest first)",
    )
    parser.add_argument(
        "--columns",
        metavar="A,B,...",
        help=f"columns to show: metrics (psnr, val/mse), keys (optimizer.lr), or some of {COLUMNS}",
    )
    parser.add_argument(
        "--filter",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="show only these runs; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list_runs(options: argparse.Namespace) -> None:
    top = Path(os.path.expanduser(options.folder))
    if not top.is_dir():
        raise UserError(options.folder, "no such folder", "Write aeframe runs FOLDER.")
    found = sorted((read_run(folder) for folder in find_runs(top)), key=lambda run: run.when)
    found.reverse()
    columns = [name.strip() for name in (options.columns or COLUMNS).split(",") if name.strip()]
    if found:
        _check_columns(options, columns, found)
        found = _sort(_select(found, options.filter), options.sort)
    if options.sort and not options.columns and options.sort not in columns:
        columns.insert(-1, options.sort)
    if options.json:
        print(format_json([{name: run.get(name) for name in columns} for run in found]))
        return
    if not found:
        what = "holds no such runs" if options.filter else "holds no runs"
        raise UserError(options.folder, what)
    _print(found, options, columns)


def _check_columns(
    options: argparse.Namespace, columns: Sequence[str], runs: Sequence[Run]
) -> None:
    """Raise UserError for a column that no run has."""
    known = {*COLUMNS.split(","), "epochs", "steps", "seconds"}
    for run in runs:
        known |= {*as_mapping(run.card.get("metrics")), *(key for key, _ in flatten(run.config))}
        known |= {f"val/{name}" for name in as_mapping(run.card.get("validation"))}
    for option, names in (
        ("--columns", columns),
        ("--sort", [options.sort] * bool(options.sort)),
        ("--filter", [word.partition("=")[0] for word in options.filter]),
    ):
        for name in names:
            if name.removeprefix("test/") not in known:
                close = find_closest(name, sorted(known))
                remedy = f"Did you mean {close}?" if close else f"There are {COLUMNS}."
                raise UserError(f"{option} {name}", "no run has it", remedy)


def _select(runs: Sequence[Run], words: Sequence[str]) -> list[Run]:
    """Return the runs whose columns have the values of all KEY=VALUE words."""
    wanted = [word.partition("=")[::2] for word in words]
    for word in words:
        if "=" not in word:
            raise UserError(f"--filter {word}", "has no value", f"Write --filter {word}=VALUE.")
    return [run for run in runs if all(_is_same(run.get(key), text) for key, text in wanted)]


def _is_same(value: Any, text: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return ("null" if value is None else str(value)).casefold() == text.casefold()


def _sort(found: Sequence[Run], key: str | None) -> list[Run]:
    """Sort runs by a column: numbers before texts, and runs without a value last."""
    if key is None:
        return list(found)
    from aeframe.evaluation.metric_names import find_better

    sign = -1 if find_better(key) == "max" else 1

    def rank(run: Run) -> tuple[int, float, str]:
        value = run.get(key)
        if value is None:
            return 2, 0.0, ""
        if isinstance(value, str):
            return 1, 0.0, value
        return 0, sign * value, ""

    return sorted(found, key=rank)


def _print(found: list[Run], options: argparse.Namespace, columns: Sequence[str]) -> None:
    from rich.console import Console

    console, left_out = Console(highlight=False, markup=False), list[str]()
    table = _make_table(found, options.folder, columns)
    least = [] if options.columns else [name for name in LEAST_NEEDED if name != options.sort]
    for name in sorted(least, key=lambda name: len({run.get(name) for run in found}) > 1):
        if _measure(console, table) <= max(WIDTH, console.width):
            break
        left_out.append(name)
        shown = [column for column in columns if column not in left_out]
        table = _make_table(found, options.folder, shown)
    print_wide(console, table)
    if left_out:
        print(f"Columns left out: {', '.join(left_out)}. --columns chooses those to show.")


def _make_table(found: list[Run], top: str, columns: Sequence[str]) -> Table:
    from rich.table import Table

    count = f"{len(found)} run{'' if len(found) == 1 else 's'}"
    table = Table(title=f"{count} below {top}", title_justify="left")
    right = {c for c in columns if all(not isinstance(run.get(c), str) for run in found)}
    for column in columns:
        justify: Any = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=column == "when")
    styles = {"failed": "red", UNREADABLE: "red", "interrupted": "yellow", "training": "cyan"}
    for run in found:
        cells = (_write_cell(run, column) for column in columns)
        table.add_row(*cells, style=styles.get(run.status))
    return table


def _measure(console: Any, table: Table) -> int:
    """Measure the width of a table without line breaks in its cells."""
    wide = console.options.update(width=10_000)
    return table.__rich_measure__(console, wide).maximum


def print_wide(console: Any, table: Any) -> None:
    """Print a table; into a file, which has no width, without line breaks in its cells."""
    if not console.is_terminal:
        console.width = max(console.width, _measure(console, table))
    console.print(table)


def _write_cell(run: Run, column: str) -> str:
    value = run.get(column)
    if value is None or (column == "value" and run.status != "finished"):
        return ""
    return format_cell(value, ".5g") if isinstance(value, float) else str(value)


VERBS = (
    Verb(
        "runs",
        "list the runs below a folder, newest first",
        "aeframe runs outputs --filter model=sparse --sort psnr --columns folder,psnr,model.latent_dim",
        _add_arguments,
        _list_runs,
    ),
)
