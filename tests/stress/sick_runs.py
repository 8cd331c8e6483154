"""Runs that were made sick on purpose, and what the doctor says of each.

python -m tests.stress.sick_runs trains them and prints the table; test_doctor.py takes them for its cases.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from aeframe.cli.train import train
from aeframe.data.source import Samples
from aeframe.monitoring.doctor.waiting import DataWaiting

ROOT = Path(__file__).parents[2]
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


SICK = {
    "a KL term that weighs too much": Sick(
        ("model=variational", "model.beta=20"), "posterior_collapse", "model.beta=1"
    ),
    "a variance far above the data's": Sick(
        ("model=variational", "likelihood=gaussian", "likelihood.variance=1.0"),
        "posterior_collapse",
        "likelihood.variance=optimal",
    ),
    "a learned variance under a KL term that weighs too much": Sick(
        ("model=variational", "likelihood=gaussian", "likelihood.variance=learned", "model.beta=9"),
        "posterior_collapse",
        "model.beta=1",
    ),
    "one active unit": Sick(
        ("model=sparse", "constraint.topk.k=1"), "dead_units", "constraint=[topk,auxk]"
    ),
    "eight active units, learned ten times too fast": Sick(
        ("model=sparse", "constraint.topk.k=8", "optimizer.lr=0.01"),
        "dead_units",
        "constraint=[topk,auxk]",
    ),
    "a heavy L1 penalty": Sick(
        (
            *("model=sparse", "constraint=l1", "constraint.l1.weight=1000"),
            "optimizer.lr=0.01",
        ),
        "mean_image",
        "constraint.l1.weight=100",
    ),
    "a rate a hundred times too high": Sick(
        ("optimizer.lr=0.1",), "learning_rate", "optimizer.lr=0.033"
    ),
    "a rate a thousand times too low": Sick(
        ("optimizer.lr=1e-6",), "mean_image", "optimizer.lr=0.001"
    ),
    "logits beyond all bounds": Sick(
        (
            *("dataset=array", "dataset.path={folder}/gray.npy", "network=linear"),
            *("likelihood=bernoulli", "model.latent_dim=4", "optimizer.lr=3"),
        ),
        "saturated_output",
        "optimizer.lr=1",
    ),
    "sigmoid units that learn too fast": Sick(
        ("network.activation=sigmoid", "optimizer.lr=0.1"),
        "saturated_units",
        "network.activation=silu",
    ),
    "noise to be learned by heart": Sick(
        (
            *("dataset=array", "dataset.path={folder}/noise.npy", "dataset.batch_size=32"),
            *("model.latent_dim=8", "optimizer.lr=0.003", "trainer.max_epochs=50"),
        ),
        "overfitting",
        "early_stopping.patience=5",
    ),
    "a disk that takes 5 ms for a batch (it is made to sleep)": Sick(
        (
            *("dataset=array", "dataset.path={folder}/gray.npy", "network.widths=[]"),
            *("model.latent_dim=4", "dataset.in_memory=false", "dataset.num_workers=0"),
            *("dataset.batch_size=32", "trainer.max_epochs=4"),
        ),
        "data_waiting",
        "dataset.num_workers=",
    ),
    "nothing in the way of copying": Sick(
        (
            *("constraint=[]", "model.allow_overcomplete=true", "model.latent_dim=128"),
            *("network=linear", "optimizer.lr=0.01"),
        ),
        "copying",
        "model.latent_dim=16",
    ),
    "one linear layer each way": Sick(
        ("network=linear", "trainer.max_epochs=10"), "pca", "network=mlp"
    ),
}


def files(folder: Path) -> None:
    """Write the data that they are trained on."""
    generator = np.random.default_rng(0)
    np.save(folder / "noise.npy", generator.random((160, 32)).astype(np.float32))
    np.save(folder / "gray.npy", generator.random((600, 16)).astype(np.float32))


def slow_disk() -> None:
    """Let what is not in memory come late, and the doctor speak before ten seconds are lost."""
    gathered = Samples._gather

    def late(samples: Samples, rows: Tensor) -> Tensor:
        time.sleep(0.005)
        return gathered(samples, rows)

    Samples._gather = late  # type: ignore[method-assign]
    DataWaiting.seconds = 0.0


def one() -> None:
    """Train one, as sys.argv says."""
    if "dataset.in_memory=false" in sys.argv:
        slow_disk()
    train()


def main() -> None:
    """Train them all, and print what was said."""
    argparse.ArgumentParser("python -m tests.stress.sick_runs", description=__doc__).parse_args()
    print("| run | command | epoch | what the doctor said |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files(folder)
        for number, (title, sick) in enumerate(SICK.items()):
            words = [word.format(folder=folder) for word in sick.words]
            run = folder / str(number)
            code = "from tests.stress.sick_runs import one; one()"
            command = [sys.executable, "-c", code, *SHORT, *words, f"hydra.run.dir={run}"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
            written = " ".join(sick.words)
            for said in json.loads((run / "evaluation.json").read_text())["doctor"]:
                text = f"{said['seen']}. Try: `{said['try']}`"
                print(f"| {title} | `{written}` | {said['epoch']} | {text} |", flush=True)


if __name__ == "__main__":
    main()
