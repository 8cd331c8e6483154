"""The verb compare: what differs between runs, and their metrics side by side."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aeframe.cli.verbs.run_records import Run, read_run
from aeframe.cli.verbs.run_table import print_wide
from aeframe.cli.verbs.verb import Verb
from aeframe.config.auto_record import unsettle
from aeframe.core.errors import UserError
from aeframe.core.plain import as_mapping, flatten
from aeframe.core.strict_json import format_cell, format_json
from aeframe.runs.evaluation_file import read_number

NOT_DATA = (
    "batch_size",
    "num_workers",
    "shuffle",
    "in_memory",
    "memory_limit",
    "cache",
    "download",
)
"""Keys of `dataset` that do not change the samples."""
NOT_TEST = ("augment", "val_fraction", "normalization")
"""Keys of `dataset` that do not change the samples of the test split."""
IN_UNITS = ("psnr", "explained_variance", "denoised_psnr", "gain_db")
"""Metrics that do not depend on the units of the data."""
JUDGED = (*IN_UNITS, "mse", "denoised_mse", "nll", "negative_elbo")
"""Metrics that have a better direction."""
SPLITS = (
    "the runs have different seeds. Unless the data has its own test split, each was tested on other "
    "samples. Test all on the same: aeframe evaluate RUN INPUT."
)
SAMPLES = (
    "the runs have seen different samples: their data or its splits differ. Test all on the same samples: "
    "aeframe evaluate RUN INPUT."
)
SIZES = ("code_size", "epochs", "seconds")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of two or more runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "-o", "--out", metavar="PATH", help="a picture of the differences between errors, in .png"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing result")


def _compare(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.error_differences import (
        describe_interval,
        draw_intervals,
        list_intervals,
    )
    from aeframe.cli.verbs.outputs import check_output_path

    out = check_output_path(options, (".png",)) if options.out is not None else None
    if len(options.runs) < 2:
        what = "is one run, and a comparison needs two"
        raise UserError(options.runs[0], what, f"Write aeframe compare {options.runs[0]} RUN.")
    runs = [_read_finished(word) for word in options.runs]
    _require_same_data(runs)
    same_units = len({run.card.get("normalization") for run in runs}) == 1
    differences = list_differences([run.config for run in runs])
    metrics = _list_metrics(runs)
    judged = [name for name in metrics if name in (JUDGED if same_units else IN_UNITS)]
    best = {name: _find_best(name, metrics[name]) for name in judged}
    intervals = list_intervals([run.folder for run in runs]) if same_units else None
    if out is not None:
        if intervals is None:
            what = "the runs have no errors of the same test samples in the same units"
            raise UserError("--out", what, "Leave it out, or train the runs again.")
        draw_intervals(out, [run.folder for run in runs], intervals)
    if options.json:
        names = [run.folder for run in runs]
        print(
            format_json(
                {
                    "runs": names,
                    "configuration": differences,
                    "metrics": metrics,
                    "best": best,
                    "mse_less_that_of_the_first": intervals
                    and [interval.as_dict() for interval in intervals],
                }
            )
        )
        return
    _print(runs, differences, metrics, best)
    for run, interval in zip(runs[1:], intervals or (), strict=False):
        print(f"{run.folder}: {describe_interval(interval, runs[0].folder)}")
    if out is not None:
        print(f"Differences between errors: {out}")
    if "seed" in differences:
        print(f"Note: {SPLITS}")
    elif len({run.card.get("digest") for run in runs} - {None}) > 1:
        print(f"Note: {SAMPLES}")
    if not same_units:
        print(
            "Note: the MSE is in units of dataset.normalization, which the runs do not share. "
            "Compare the PSNR."
        )


def _read_finished(word: str) -> Run:
    """Read a run that has results. Raises UserError for anything else."""
    folder = Path(os.path.expanduser(word))
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise UserError(word, what, "Write the folder of a run; aeframe runs lists them.")
    run = read_run(folder)
    if not run.config:
        what = "is not the folder of a run"
        raise UserError(word, what, f"aeframe runs {word} lists the runs below it.")
    if not as_mapping(run.card.get("metrics")):
        what, remedy = f"has no results to compare ({run.status})", "Leave it out."
        if run.status == "interrupted" and (folder / "checkpoints" / "last.ckpt").exists():
            remedy = f"Train it to its end: aeframe train {shlex.quote(f'resume={word}')}"
        raise UserError(word, what, remedy)
    return run


def _require_same_data(runs: Sequence[Run]) -> None:
    """Raise UserError for runs whose metrics are those of different samples."""
    first, *others = runs
    known = as_mapping(first.config.get("dataset"))
    for run in others:
        node = as_mapping(run.config.get("dataset"))
        for key in known.keys() & node.keys() - {*NOT_DATA, *NOT_TEST}:
            if known[key] != node[key]:
                where = f"{first.folder} and {run.folder}"
                name = "dataset" if key == "_target_" else f"dataset.{key}"
                values = " and ".join(
                    str(n[key]).rpartition("aeframe.data.")[2] for n in (known, node)
                )
                what = f"cannot be compared: {name} is {values}"
                remedy = "Test both on the same samples: aeframe evaluate RUN INPUT."
                raise UserError(where, what, remedy)


def list_differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """List the choices in which configurations differ, with the value of each; None where a run has no such
    key. Values that `auto` stands for follow from other choices.
    """
    flat = [_list_choices(config) for config in configs]
    keys = [key for key in dict.fromkeys(k for one in flat for k in one) if key != "resume"]
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def _list_choices(config: Mapping[str, Any]) -> dict[str, Any]:
    """List the options of groups by their class or their names, and the values of all keys."""
    found = dict[str, Any]()
    for key, value in flatten(unsettle(config)):
        *path, last = key.split(".")
        if last != "_target_":
            found[key] = value
        elif len(path) == 1:
            found[path[0]] = str(value).rpartition(".")[2]
        elif path:  # of several options, whose names say enough
            found[path[0]] = f"{found[path[0]]}+{path[1]}" if path[0] in found else path[1]
    return found


def _list_metrics(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for run in runs for name in as_mapping(run.card["metrics"]))
    places = [(name, as_mapping(run.card["metrics"])) for name in names for run in runs]
    places += [(name, run.card) for name in SIZES for run in runs]
    found = dict[str, list[float | None]]()
    for name, node in places:
        try:
            value = read_number(node.get(name))
        except ValueError:
            value = None
        found.setdefault(name, []).append(value)
    return found


def _find_best(name: str, values: Sequence[float | None]) -> list[int]:
    """Find the numbers of the runs with the best value; none if all have the same."""
    from aeframe.evaluation.metric_names import find_better

    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return []
    best = (max if find_better(name) == "max" else min)(known)
    return [number for number, value in enumerate(values) if value == best]


def _print(
    runs: Sequence[Run],
    differences: Mapping[str, Sequence[Any]],
    metrics: Mapping[str, Sequence[float | None]],
    best: Mapping[str, Sequence[int]],
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="Differences, and metrics of the test split (* is the best)", title_justify="left"
    )
    table.add_column("")
    for run in runs:
        table.add_column(run.folder, justify="right", overflow="fold")
    for key, values in differences.items():
        table.add_row(key, *map(_write, values))
    table.add_section()
    for name, numbers in metrics.items():
        marks = ("*" if i in best.get(name, ()) else "" for i in range(len(runs)))
        cells = (f"{mark}{format_cell(v, '.5g')}" for mark, v in zip(marks, numbers, strict=True))
        table.add_row(name, *cells)
    print_wide(Console(highlight=False, markup=False), table)


def _write(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


VERBS = (
    Verb(
        "compare",
        "compare runs: their differences, and their metrics side by side",
        "aeframe compare outputs/DAY/RUN outputs/DAY/OTHER",
        _add_arguments,
        _compare,
    ),
)
