"""Training from Python, as by `python train.py`, in this process.

run = aeframe.train(["model=sparse", "constraint=topk"], data=x)
runs = aeframe.sweep(["model=sparse", "constraint=l1,topk", "seed=0,1"], data=x)
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aeframe.cli.checked_loader import check_composition
from aeframe.cli.command_line import QUOTING, Command, Composed, parse
from aeframe.cli.hydra_errors import translate_errors
from aeframe.cli.resuming import build_finished_error, find_saved, write_configuration
from aeframe.cli.run_folders import Folders, name_job, name_run, write_swept_values
from aeframe.cli.sweep import FAILED, show_table
from aeframe.config.check import check
from aeframe.config.node import to_plain
from aeframe.config.override_words import AUTOMATIC, read_key, write_words
from aeframe.config.plugins import Names, use_plugins
from aeframe.core.errors import TrainingError, UserError, describe_error
from aeframe.core.local_paths import expand_path
from aeframe.core.signals import Interrupted
from aeframe.runs.folder import has_run, lock_folder, refuse_used
from aeframe.runs.foreign_files import (
    Beginning,
    refuse_foreign,
    refuse_foreign_sweep,
    refuse_other_use,
)
from aeframe.runs.given_data import ARRAY, TABLE, choose_dataset, pair, write_data
from aeframe.runs.run_results import Run, require
from aeframe.training.process_state import restore_process
from aeframe.training.run import run as train_run

Overrides = Sequence[str] | Mapping[str, Any]
MANY_PROCESSES = "training from Python uses one process"


def train(
    overrides: Overrides = (),
    data: Any = None,
    *,
    target: Any = None,
    folder: str | os.PathLike[str] | None = None,
    plugins: Names = (),
    verbose: bool = True,
) -> Run:
    """Train a network, and return its run.

        run = aeframe.train(["model=sparse", "constraint.topk.k=25"], data=x)
        run.metrics["test/mse"], run.model.encode(x), run.curves(), run.plot()

    overrides: the words of the command line, or a mapping such as {"model": "sparse", "seed": 1}.
    ["resume=FOLDER"] continues a run. data: an array, tensor, DataFrame or torch Dataset of samples, or a
    tuple of them, (train, test) or (train, val, test), which is copied into the run's folder; None: the
    dataset that the overrides choose. target: what the network is to write for each sample of `data`, if not
    the sample itself: of the same kinds. folder: of the run; None: a new one in outputs/. plugins: names or
    folders of packages that are not installed as plug-ins, whose options and classes may be used. verbose:
    prints what is trained, the progress, and where the results are.

    The same configuration and data give the same weights, bit for bit, as the command line. Random numbers,
    threads, signal handlers and the environment of this process are as before afterwards. Raises ConfigError
    with all mistakes in the configuration, UserError for unusable data, TrainingError if the loss becomes
    NaN, and KeyboardInterrupt after Ctrl-C, when what was trained is saved.
    """
    words = write_words(overrides)
    with use_plugins(plugins), restore_process(verbose=verbose):
        place = None if folder is None else expand_path(os.fspath(folder), f"folder={folder}")
        run = train_in_folder(words, pair(data, target), place)
        run.plugins = plugins
        if verbose:
            print(f"Run folder: {run.folder}")
    return run


def sweep(
    overrides: Overrides,
    data: Any = None,
    *,
    target: Any = None,
    folder: str | os.PathLike[str] | None = None,
    plugins: Names = (),
    verbose: bool = True,
) -> Any:
    """Train every combination of the values, and return a DataFrame of the results, best first.

        runs = aeframe.sweep(["model=sparse", "constraint=l1,topk", "seed=0,1,2"], data=x)
        runs.runs[0].model.encode(x)

    overrides, data, target, folder, plugins, verbose: see `train`; several values of a key are separated by
    commas, or are a list in a mapping (there [[8, 4]] is one value that is a list). Each job has its folder
    in that of the sweep. Needs pandas. Raises UserError if every job has a mistake; else failed jobs are
    rows.
    """
    require("pandas", "aeframe.sweep")
    from aeframe.runs.sweep_frame import SweepFrame

    words = write_words(overrides, swept=True)
    with use_plugins(plugins), restore_process(verbose=verbose):
        jobs, data = _expand(words), pair(data, target)
        place, is_new = _find_sweep_folder(folder)
        with lock_folder(place):
            _train_jobs(jobs, words, data, place, is_new)
            show_table(place)
    return SweepFrame.read(place, plugins)


def _train_jobs(
    jobs: list[list[str]], words: Sequence[str], data: Any, place: Path, is_new: bool
) -> None:
    """Train the jobs of a sweep. Raises UserError if every job has a mistake. place, is_new: its folder."""
    dataset = None if data is None else _choose_dataset(words, data)
    options = {} if dataset is None else write_data(data, place, dataset)
    failure: Exception | None = None
    for number, job in enumerate(jobs):
        try:
            _train_job(job, words, options, dataset, place, number)
        except (UserError, TrainingError) as error:
            failure = failure or error
            print(f"failed: {str(error).splitlines()[0]}", file=sys.stderr)
    if isinstance(failure, UserError) and not any(place.glob("*/checkpoints")):
        if is_new:  # so that the next try can use it
            shutil.rmtree(place)
        raise failure


def _find_sweep_folder(folder: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """Make the folder of a sweep. Returns it, and True if it is new."""
    now = datetime.now()
    if folder is None:
        parent = f"outputs/sweeps/{now:%Y-%m-%d}"
        made = Folders(make=True).make_folder(parent, f"{now:%H-%M-%S-%f}", "sweep")
        return Path(made).resolve(), True
    place = expand_path(os.fspath(folder), f"folder={folder}").resolve()
    is_new = not place.exists()
    refuse_foreign_sweep(place)
    place.mkdir(parents=True, exist_ok=True)
    return place, is_new


def _expand(words: Sequence[str]) -> list[list[str]]:
    """List the words of each job: every combination of the values that are separated by commas."""
    from itertools import product

    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise UserError("overrides", describe_error(error), QUOTING) from error
    for written, word in zip(words, parsed, strict=True):
        if isinstance(word.value(), Glob):
            raise UserError(written, "has no effect from Python", "List the names, with commas.")
    values = [
        [f"{written.partition('=')[0]}={value}" for value in word.sweep_string_iterator()]
        if word.is_sweep_override()
        else [written]
        for written, word in zip(words, parsed, strict=True)
    ]
    return [list(job) for job in product(*values)]


def _train_job(
    job: list[str],
    words: Sequence[str],
    options: Mapping[str, str],
    dataset: str | None,
    place: Path,
    number: int,
) -> None:
    """Train one job of a sweep in its folder, and record a failure there."""
    composed = compose(parse_words(job, dataset))
    name = name_run(composed.hydra.runtime.choices, composed.cfg.constraint)
    folder = place / name_job(str(place), number, name, write_swept_values(words, job))
    try:
        train_in_folder(job, None, folder, options, dataset, brief=True)
    except (UserError, TrainingError) as error:
        if not (folder / "evaluation.json").exists():
            folder.mkdir(exist_ok=True)
            write_configuration(composed.cfg, composed.hydra, folder)
            (folder / FAILED).write_text(str(error))
        raise
    except Exception as error:
        (folder / FAILED).write_text(f"{error}\n{traceback.format_exc()}")
        raise


def train_in_folder(
    words: Sequence[str],
    data: Any,
    folder: Path | None,
    options: Mapping[str, str] | None = None,
    dataset: str | None = None,
    *,
    brief: bool = False,
) -> Run:
    """Train, or find that the run has finished. words, data, folder: see `train`.

    options: of `dataset`, for data that was written before. brief: print one line.
    """
    if data is not None:
        dataset = _choose_dataset(words, data)
    command = parse_words(words, dataset)
    if command.resume not in (None, *AUTOMATIC):
        where = f"resume={command.resume}"
        if folder is not None:
            raise UserError(f"folder={folder}", f"contradicts {where}", "Leave folder out.")
        folder = Run(command.resume).folder
    composed = compose(command)
    place = folder.resolve() if folder is not None else _name_folder(composed)
    refuse_foreign(place)
    refuse_used(place, composed.cfg.get("resume") is not None)
    if not has_run(place):
        refuse_other_use(place, "folder")
    with Beginning(place).hold():
        given = dict(options or {}) if data is None else write_data(data, place, str(dataset))
        _train(composed, command.overrides, given, place, brief=brief)
    return Run(place)


def _train(
    composed: Composed, words: Sequence[str], given: Mapping[str, str], place: Path, *, brief: bool
) -> None:
    """Check and train, unless the run has finished. given: options of the dataset. place: the folder."""
    node = to_plain(composed.cfg)
    node["dataset"] |= given
    node, saved = find_saved(node, place, words, words)
    check(node)
    _require_one_process(node)
    if saved is not None and saved.is_done(node):
        if node["resume"] not in AUTOMATIC:
            raise build_finished_error(saved, f"resume={node['resume']}")
        return
    if saved is None:
        composed.cfg.dataset.update(given)
        write_configuration(composed.cfg, composed.hydra, place)
        (place / FAILED).unlink(missing_ok=True)
    try:
        train_run(node, place, None, saved, brief=brief)
    except Interrupted as end:
        onward = f"aeframe.train(['resume={end.folder or place}'])"
        raise KeyboardInterrupt(Interrupted(end.number, end.folder, onward).describe()) from None


def _choose_dataset(words: Sequence[str], data: Any) -> str:
    """Return the option of `dataset` that reads given data: the user's choice, or the one that suits it."""
    typed = [word.partition("=")[2] for word in words if read_key(word) == "dataset"]
    return next((name for name in typed if name in (ARRAY, TABLE)), choose_dataset(data))


def parse_words(words: Sequence[str], dataset: str | None) -> Command:
    """Parse the words as the command line does. Raises UserError for those that work only on the command
    line. dataset: the option of this group for given data; None: there is none.
    """
    for word in words:
        if word.startswith("-"):
            what = "is an option of the command line"
            raise UserError(word, what, "Give KEY=VALUE or GROUP=OPTION, or call aeframe.sweep.")
        key = read_key(word)
        if key.startswith("hydra"):
            raise UserError(word, "has no effect from Python", "Name the folder by folder=.")
        others = key == "dataset" and word.partition("=")[2] != dataset
        if dataset and (others or key in ("dataset.path", "dataset.test_path")):
            raise UserError(word, "contradicts data=", "Leave one of them out.")
    rest = [word for word in words if dataset is None or read_key(word) != "dataset"]
    return parse([*([f"dataset={dataset}"] if dataset else []), *rest])


def compose(command: Command) -> Composed:
    """Compose the configuration of one run."""
    Folders(make=False).register()
    # beside an application that uses Hydra itself
    with check_composition(), translate_errors(command):
        composed = command.compose()
    if composed.sweeps:
        what = "this experiment is a sweep of its own"
        raise UserError("experiment", what, "Start it on the command line: aeframe train.")
    return composed


def _name_folder(composed: Composed) -> Path:
    """Name the folder of a new run as the command line does."""
    now, name = datetime.now(), name_run(composed.hydra.runtime.choices, composed.cfg.constraint)
    return Path(f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S-%f}_{name}").resolve()


def _require_one_process(node: Mapping[str, Any]) -> None:
    if (strategy := node["hardware"]["strategy"]) != "auto":
        where, remedy = f"hardware.strategy={strategy}", "Write hardware=cpu or hardware=gpu."
        raise UserError(where, MANY_PROCESSES, remedy)
