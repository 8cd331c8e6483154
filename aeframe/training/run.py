"""One run, from configuration to report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from aeframe.core.process import is_first_process
from aeframe.runs.checkpoint import Saved
from aeframe.runs.claim import claim_folder
from aeframe.runs.folder_guide import write_guide
from aeframe.runs.layout import DIVERGED
from aeframe.training import report
from aeframe.training.attempt import Attempt, prepare
from aeframe.training.fit import fit_with_retries, translate_exceptions
from aeframe.training.garbage import free_cycles
from aeframe.training.outcome import Outcome, write_results
from aeframe.training.processes import isolate_job
from aeframe.training.resume.beginning import find_beginning
from aeframe.training.speed.compute import (
    configure_torch_for,
    count_parallel_jobs,
    flush_denormals,
    keep_freed_memory,
)
from aeframe.training.summary import write_summary
from aeframe.training.testing import test
from aeframe.training.trainer import quiet_lightning


@free_cycles
@flush_denormals()
def run(
    node: Mapping[str, Any],
    folder: Path,
    flags: tuple[str, ...] | None = None,
    saved: Saved | None = None,
    *,
    brief: bool = False,
) -> float:
    """Check, seed, build, fit, test, report. Returns the optimized metric of the best checkpoint.

    node: the configuration. folder: for all files of the run. flags: of the command line, for other ranks;
    None for a run from Python, which has no other ranks. saved: the checkpoint in the folder to resume
    from. brief: print one line, as the jobs of a sweep do. Raises UserError for mistakes in the
    configuration or the data, TrainingError for a failure of training, and Interrupted after a signal.
    """
    quiet_lightning()
    started = time.perf_counter()
    attempt = prepare(node, folder, saved=saved, brief=brief)
    beginning = find_beginning(attempt, folder, saved)
    if is_first_process() and not brief:
        report.print_opening(attempt.built, None if flags is None else folder, beginning)
    elif is_first_process() and beginning is not None:
        report.print_resumption(attempt.built, beginning)
    untrained = deepcopy(attempt.built.net)
    keep_freed_memory()
    resumes = attempt.built.node["resume"] is not None
    with translate_exceptions(folder, attempt.trainer), claim_folder(folder, resumes, saved):
        _write_first_files(folder, is_new=beginning is None and not attempt.tried)
        with _configure_torch(attempt, flags):
            attempt = fit_with_retries(attempt, folder, beginning)
            end = attempt.built.net.clock  # before the best checkpoint is loaded
            tested = test(attempt, untrained)
        if tested is None:  # the first rank reports
            return attempt.value
        seconds = time.perf_counter() - started
        outcome = Outcome(attempt, tested, end, seconds, resumed=beginning is not None)
        write_summary(folder, outcome)
        changed = write_results(folder, outcome, untrained)
    if brief:
        report.print_line(outcome, folder)
    else:
        report.print_ending(outcome, folder, changed, commands=flags is not None)
    return attempt.value


def _write_first_files(folder: Path, *, is_new: bool) -> None:
    if not is_first_process():
        return
    if is_new:
        (folder / DIVERGED).unlink(missing_ok=True)  # of an earlier attempt without a checkpoint
    write_guide(folder)


@contextmanager
def _configure_torch(attempt: Attempt, flags: tuple[str, ...] | None) -> Iterator[None]:
    """Set threads and rounding, and the command line of the other ranks. flags: see `run`."""
    built = attempt.built
    model, size, precision = built.net.model, built.data.batch_size, built.training.precision
    if flags is None:
        with configure_torch_for(built.hardware, precision, model, size, jobs=1):
            yield
        return
    jobs = count_parallel_jobs(HydraConfig.get().launcher)
    with isolate_job(flags), configure_torch_for(built.hardware, precision, model, size, jobs):
        yield
