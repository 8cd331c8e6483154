"""Runs that were made sick on purpose, and what the doctor says of each.

python -m tests.stress.sick_runs trains them and prints the table; test_doctor.py takes them for its cases.
"""

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

import numpy as np
from torch import Tensor

from aeframe.cli.train import train
from aeframe.data.source import Samples
from aeframe.monitoring.doctor.waiting import DataWaiting

VERBOSE = os.environ.get("SICK_VERBOSE")
ERROR = "metrics/mse"
OPTIMIZED = "optimized_metric/value"
EVEN = "explained variance, each column alike"
HIGHER = ("metrics/active_units", EVEN)
"""Measurements that are better the higher they are."""
SHORT = (
    *("trainer.limit_train_batches=20", "trainer.max_epochs=9", "trainer.log_every_n_steps=5"),
    *("dashboard.images=0", "evaluation.images=64"),
)


class Sick(NamedTuple):
    """A run. words: its overrides; {folder} is where the files lie. rule: that speaks, and the beginning
    of what it says to type.
    """

    words: tuple[str, ...]
    rule: str
    remedy: str
    measured: str = ERROR


SICK = {
    "a KL term that weighs too much": Sick(
        ("model=variational", "model.beta=20", "network.start=random"),
        "posterior_collapse",
        "model.beta=1",
    ),
    "a variance far above the data's": Sick(
        (
            "model=variational",
            "likelihood=gaussian",
            "likelihood.variance=1.0",
            "network.start=random",
        ),
        "posterior_collapse",
        "likelihood.variance=optimal",
    ),
    "a learned variance under a KL term that weighs too much": Sick(
        (
            "model=variational",
            "likelihood=gaussian",
            "likelihood.variance=learned",
            "model.beta=9",
            "network.start=random",
        ),
        "posterior_collapse",
        "model.beta=1",
    ),
    "one active unit": Sick(
        ("model=sparse", "constraint.topk.k=1"), "dead_units", "constraint.topk.k=4"
    ),
    "eight active units, learned ten times too fast": Sick(
        ("model=sparse", "constraint.topk.k=8", "optimizer.lr=0.01", "dataset.batch_size=128"),
        "dead_units",
        "constraint=[topk,auxk]",
    ),
    "a heavy L1 penalty": Sick(
        (
            *("model=sparse", "constraint=l1", "constraint.l1.weight=1000"),
            "optimizer.lr=0.01",
        ),
        "dead_units",
        "constraint.l1.weight=0.1",
    ),
    "a rate a hundred times too high": Sick(
        ("optimizer.lr=0.1", "network.start=random"), "learning_rate", "optimizer.lr=0.001"
    ),
    "a rate a thousand times too low": Sick(
        ("optimizer.lr=1e-6", "network.start=random"), "mean_image", "optimizer.lr=0.001"
    ),
    "logits beyond all bounds": Sick(
        (
            *("dataset=array", "dataset.path={folder}/gray.npy", "network=linear"),
            *(
                "likelihood=bernoulli",
                "model.latent_dim=4",
                "optimizer.lr=3",
                "dataset.batch_size=128",
            ),
        ),
        "saturated_output",
        "optimizer.lr=0.001",
    ),
    "sigmoid units that learn too fast": Sick(
        ("network.activation=sigmoid", "optimizer.lr=0.1", "network.start=random"),
        "saturated_units",
        "optimizer.lr=0.001",
    ),
    "few photographs": Sick(
        (
            *("dataset=array", "dataset.path={folder}/photographs.npy", "dataset.batch_size=16"),
            *("dataset.augment=[]", "trainer.max_epochs=60", "optimizer.lr=0.003"),
        ),
        "few_samples",
        "dataset.augment=[flip,crop,color]",
    ),
    "a disk that takes 5 ms for a batch (it is made to sleep)": Sick(
        (
            *("dataset=array", "dataset.path={folder}/gray.npy", "network.widths=[]"),
            *("model.latent_dim=4", "dataset.in_memory=false", "dataset.num_workers=0"),
            *("dataset.batch_size=32", "trainer.max_epochs=4"),
        ),
        "data_waiting",
        "dataset.in_memory=true",
        "seconds",
    ),
    "nothing in the way of copying": Sick(
        (
            *("constraint=[]", "model.allow_overcomplete=true", "model.latent_dim=128"),
            *("network=linear", "optimizer.lr=0.01", "network.start=random"),
        ),
        "copying",
        "model.latent_dim=16",
        "copy_check/copied",
    ),
    "a training that is cut short": Sick(
        ("network=mlp", "network.tied=true", "trainer.max_epochs=6"),
        "pca",
        "trainer.max_epochs=12",
    ),
    "one linear layer each way": Sick(
        ("network=linear", "trainer.max_epochs=10"), "pca", "network=mlp"
    ),
    "a rate that spoils the first weights": Sick(
        ("optimizer.lr=0.1",), "pca", "optimizer.lr=0.001"
    ),
    "weights that begin at random": Sick(("network.start=random",), "pca", "network.start=pca"),
    "columns of different scales": Sick(
        (
            *(
                "dataset=array",
                "dataset.path={folder}/columns.npy",
                "dataset.normalization=rms",
                "network.start=random",
            ),
            *("model.latent_dim=4", "dataset.batch_size=32"),
        ),
        "spreads",
        "dataset.normalization=standard",
        EVEN,
    ),
}


def files(folder: Path) -> None:
    """Write the data that they are trained on."""
    generator = np.random.default_rng(0)
    np.save(folder / "noise.npy", generator.random((160, 32)).astype(np.float32))
    np.save(folder / "gray.npy", generator.random((600, 16)).astype(np.float32))
    np.save(folder / "photographs.npy", draw_scenes(generator, 120))
    mixed = generator.normal(size=(600, 4)) @ generator.normal(size=(4, 12))
    scales = np.array([1e4] + [1.0] * 11)
    np.save(folder / "columns.npy", (np.tanh(mixed) * scales).astype(np.float32))


def draw_scenes(generator: np.random.Generator, count: int, side: int = 8) -> np.ndarray:
    """Draw color images of three soft discs on a plain ground, [count, side, side, 3]."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    images = np.zeros((count, side, side, 3)) + generator.random((count, 1, 1, 3)) / 2
    for _ in range(3):
        at_x, at_y, radius = (generator.random((count, 1, 1)) for _ in range(3))
        away = ((x - at_x) ** 2 + (y - at_y) ** 2) / (0.1 + 0.3 * radius) ** 2
        images += np.exp(-away)[..., None] * (generator.random((count, 1, 1, 3)) - 0.3)
    return (np.clip(images, 0, 1) * 255).astype(np.uint8)


def slow_disk() -> None:
    """Let what is not in memory come late, and the doctor speak before ten seconds are lost."""
    gathered = Samples._gather

    def late(samples: Samples, rows: Tensor) -> Tensor:
        time.sleep(0.005)
        return gathered(samples, rows)

    Samples._gather = late  # type: ignore[method-assign]
    DataWaiting.seconds = 0.0


class Run(NamedTuple):
    """A finished run. command: the one that the doctor told at the end, if any. result: evaluation.json."""

    command: str | None
    result: dict[str, Any]


def import_all() -> None:
    """Import at once what each run would import by itself."""
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
    """Compare what the run is judged by; differences below a hundredth do not count."""
    old, new = (measure(run.result, sick.measured) for run in (before, after))
    return new > 1.01 * old if sick.measured in HIGHER else new < 0.99 * old


def obey(sick: Sick, folder: Path) -> tuple[str, Run, Run | None]:
    """Train a sick run, then what the doctor says; return what is told, and both."""
    words = [*SHORT, *(word.format(folder=folder) for word in sick.words)]
    before = train_in_fork(words, folder / "before.log")
    if before.command is None:
        return "nothing", before, None
    python, script, *told = shlex.split(before.command)
    assert (python, script) == ("python", "train.py"), before.command
    return before.command, before, train_in_fork(told, folder / "after.log")


def main() -> None:
    """Train them all, obey, and print what was said and what it changed."""
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
        if VERBOSE:
            runs = [run.result for run in (before, after) if run is not None]
            print(
                [
                    (
                        r["optimized_metric"],
                        r["epochs"],
                        r["best_step"],
                        r["steps"],
                        r["metrics"]["mse"],
                        [b["mse"] for b in r["baselines"].values()],
                    )
                    for r in runs
                ]
            )
            print(json.dumps(before.result["doctor"]), command)
    print(f"\n{helped} of {len(chosen)} are better.")


if __name__ == "__main__":
    main()
