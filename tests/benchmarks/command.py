"""The command line: choose rows, measure them, and print the results."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import gpu
from tests.benchmarks.measure import Result, Row, measure
from tests.benchmarks.report import as_dict, machine, remarks, table
from tests.benchmarks.rows import rows
from tests.benchmarks.workspace import Workspace

WIDTH = 140  # columns where there is no terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Measure. The exit status is 1 if a check failed or no row was chosen; goals do not change it."""
    arguments = _parser().parse_args(argv)
    on = machine()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace(arguments.data, Path(folder))
        every = (gpu.rows if arguments.gpu else rows)(space, arguments.quick)
        chosen = [row for row in every if any(fnmatch(row.name, p) for p in arguments.rows)]
        if not chosen:
            console.print("no such row; there are:", *(row.name for row in every), sep="\n  ")
            return 1
        results: list[Result] = []
        repeats = 1 if arguments.quick else arguments.repeats
        for result in _measured(chosen, repeats, arguments.quick):
            results.append(result)
            if arguments.json is not None:  # after each: what was measured outlives an interruption
                arguments.json.write_text(json.dumps(as_dict(results, on), indent=2) + "\n")
    console.print(table(results, on), *remarks(results), sep="\n")
    return int(any(result.faults for result in results))


def _measured(chosen: list[Row], repeats: int, quick: bool) -> Iterator[Result]:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # drawn between runs only, and not by a thread: that would take time from what is measured
    with Progress(
        *columns,
        console=Console(stderr=True),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("", total=len(chosen))
        for row in chosen:

            def tell(what: str, row: Row = row) -> None:
                progress.update(task, description=f"{row.name}: {what}", refresh=True)

            yield measure(row, repeats, warm_up=not quick, tell=tell)
            progress.advance(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of MNIST in torchvision's layout"
    )
    parser.add_argument(
        "--rows", nargs="+", default=["*"], metavar="PATTERN", help="names, e.g. 'bare*' '*wide*'"
    )
    parser.add_argument("--gpu", action="store_true", help="the rows that train on a CUDA device")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every reading there")
    parser.add_argument("--quick", action="store_true", help="once, shortly: does each row work?")
    return parser
