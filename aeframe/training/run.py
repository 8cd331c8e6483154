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
from aeframe.runs.claim import claimed
from aeframe.runs.folder_guide import write_guide
from aeframe.runs.layout import DIVERGED
from aeframe.training import report
from aeframe.training.attempt import Attempt, prepare
from aeframe.training.fit import fit_with_retries, translated
from aeframe.training.garbage import collects
from aeframe.training.outcome import Outcome, write_results
from aeframe.training.processes import one_job
from aeframe.training.resume.beginning import find_beginning
from aeframe.training.speed.compute import (
    computing_for,
    keep_freed_memory,
    parallel_jobs,
    without_denormals,
)
from aeframe.training.testing import test
from aeframe.training.trainer import quiet_lightning


@collects
@without_denormals()
def run(
    node: Mapping[str, Any],
    folder: Path,
    flags: tuple[str, ...] | None = None,
    saved: Saved | None = None,
) -> float:
    """Check, seed, build, fit, test, report. Returns the optimized metric of the best checkpoint.

    node: the configuration. folder: for everything that the run writes. flags: of the command line, for
    other ranks; None where there is none, and no other rank. saved: the checkpoint in the folder to resume
    from.
    Raises UserError for the user's mistakes, TrainingError where training itself failed, and Interrupted
    after a signal.
    """
    quiet_lightning()
    started = time.perf_counter()
    attempt = prepare(node, folder)
    beginning = find_beginning(attempt, folder, saved)
    if is_first_process():
        report.opening(attempt.built, None if flags is None else folder, beginning)
    untrained = deepcopy(attempt.built.net)
    keep_freed_memory()
    resumes = attempt.built.node["resume"] is not None
    with translated(folder, attempt.trainer), claimed(folder, resumes, saved):
        _write_first_files(folder, anew=beginning is None and not attempt.tried)
        with _computing(attempt, flags):
            attempt = fit_with_retries(attempt, folder, beginning)
            end = attempt.built.net.clock  # before that of the best is loaded
            tested = test(attempt, untrained)
        if tested is None:  # another rank speaks
            return attempt.value
        outcome = Outcome(attempt, tested, end, time.perf_counter() - started)
        changed = write_results(folder, outcome, untrained)
    report.ending(outcome, folder, changed, commands=flags is not None)
    return attempt.value


def _write_first_files(folder: Path, *, anew: bool) -> None:
    if not is_first_process():
        return
    if anew:
        (folder / DIVERGED).unlink(missing_ok=True)  # of an attempt that left nothing else
    write_guide(folder)


@contextmanager
def _computing(attempt: Attempt, flags: tuple[str, ...] | None) -> Iterator[None]:
    """Set threads and rounding, and let the other ranks, which have these flags, train the same."""
    built = attempt.built
    model, size, precision = built.net.model, built.data.batch_size, built.training.precision
    if flags is None:
        with computing_for(built.hardware, precision, model, size, jobs=1):
            yield
        return
    jobs = parallel_jobs(HydraConfig.get().launcher)
    with one_job(flags), computing_for(built.hardware, precision, model, size, jobs):
        yield
