"""Sick runs, the doctor's findings, and the results of its advice: python -m tests.stress.sick_runs."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from aeframe.cli.train import train
from aeframe.data.source import Samples
from aeframe.monitoring.doctor.waiting import DataWaiting
from tests.stress.sick_cases import EVEN, HIGHER, SHORT, SICK, Sick, files


def slow_disk() -> None:
    """Slow down the reading of mapped files, and let the doctor report it before ten seconds are lost."""
    gathered = Samples._gather

    def late(samples: Samples, rows: Tensor) -> Tensor:
        time.sleep(0.005)
        return gathered(samples, rows)

    Samples._gather = late  # type: ignore[method-assign]
    DataWaiting.seconds = 0.0


class Run(NamedTuple):
    """A finished run. command: the one that the doctor suggested. result: evaluation.json."""

    command: str | None
    result: dict[str, Any]


def import_all() -> None:
    """Import once what each run would import by itself."""
    names = (
        "aeframe.training.run",
        "aeframe.cli.jobs",
        "aeframe.cli.sweep",
        "sklearn.decomposition",
    )
    for name in (*names, "pytorch_lightning.loggers.tensorboard", "tensorboard.compat"):
        import_module(name)


def train_in_fork(words: Sequence[str], log: Path) -> Run:
    """Train in another process, with its output in a file. words: of the command line."""
    process = get_context("fork").Process(target=_train, args=(list(words), log))
    process.start()
    process.join()
    text = log.read_text()
    if process.exitcode != 0:
        raise RuntimeError(f"exit status {process.exitcode}: {text[-2000:]}")
    return read_run(text, log.parent)


def read_run(text: str, folder: Path) -> Run:
    """Read a finished run. text: its output. folder: where it was started."""
    (run,) = re.findall("^Run folder: +(.*)$", text, re.M)[-1:]
    return Run(find_command(text), json.loads((folder / run / "evaluation.json").read_text()))


def find_command(text: str) -> str | None:
    """Find the only command that the end of a run suggests; None if there is none."""
    found = re.findall("(?:^Doctor: .* Try|^Train longer): +(python .*)$", text, re.M)
    if len(found) > 1:
        raise RuntimeError(f"Two suggestions: {found}")
    return found[0] if found else None


def _train(words: list[str], log: Path) -> None:
    os.chdir(log.parent)
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = [str(log.parent / "train.py"), *words]
    if "dataset.in_memory=false" in words:
        slow_disk()
    train()


def measure(result: Mapping[str, Any], path: str) -> float:
    """Read the number that a run is judged by. path: in evaluation.json, with / between the keys."""
    if path == EVEN:
        check = result["copy_check"]
        return float(1 - check["real"] / check["mean_image"])
    for key in path.split("/"):
        result = result[key]
    return float(result)  # type: ignore[arg-type]


def is_better(sick: Sick, before: Run, after: Run) -> bool:
    """Compare the measured numbers of two runs; differences below a hundredth do not count."""
    old, new = (measure(run.result, sick.measured) for run in (before, after))
    return new > 1.01 * old if sick.measured in HIGHER else new < 0.99 * old


def obey(sick: Sick, folder: Path) -> tuple[str, Run, Run | None]:
    """Train a sick run, then by the doctor's advice; return the advice, and both runs."""
    words = [*SHORT, *(word.format(folder=folder) for word in sick.words)]
    before = train_in_fork(words, folder / "before.log")
    if before.command is None:
        return "nothing", before, None
    python, script, *told = shlex.split(before.command)
    assert (python, script) == ("python", "train.py"), before.command
    return before.command, before, train_in_fork(told, folder / "after.log")


def main() -> None:
    """Train all sick runs, follow the advice, and print what it changed."""
    import_all()
    parser = argparse.ArgumentParser("python -m tests.stress.sick_runs", description=__doc__)
    parser.add_argument("names", nargs="*", help="only the runs whose titles contain one of these")
    names = parser.parse_args().names
    print(
        "| run | rule | remedy | measured | before | after | better |\n|---|---|---|---|---|---|---|"
    )
    chosen = {t: s for t, s in SICK.items() if not names or any(name in t for name in names)}
    helped = 0
    for title, sick in chosen.items():
        with tempfile.TemporaryDirectory() as name:
            files(Path(name))
            try:
                command, before, after = obey(sick, Path(name))
            except RuntimeError as error:
                print("|", title, "|", str(error)[-300:].replace("\n", " "), "|", flush=True)
                continue
        rules = ", ".join(said["rule"] for said in before.result["doctor"])
        told = next((said["try"] for said in before.result["doctor"] if said["try"]), command)
        old = measure(before.result, sick.measured)
        new = math.nan if after is None else measure(after.result, sick.measured)
        better = after is not None and is_better(sick, before, after)
        helped += better
        cells = (title, rules, f"`{told}`", sick.measured, f"{old:.4g}", f"{new:.4g}", better)
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    print(f"\n{helped} of {len(chosen)} are better.")


if __name__ == "__main__":
    main()
