"""Runs with a problem that the doctor reports: their overrides and data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer

ERROR = "metrics/mse"
EVEN = "explained variance, each column alike"
HIGHER = ("metrics/active_units", EVEN)
"""Measurements of which larger is better."""
SHORT = (
    *("trainer.limit_train_batches=20", "trainer.max_epochs=9", "trainer.log_every_n_steps=5"),
    *("dashboard.images=0", "evaluation.images=64"),
)


class Sick(NamedTuple):
    """A run with a problem. words: its overrides; {folder} stands for the folder of its files. rule: that
    reports the problem. remedy: how its command begins. measured: the number that the remedy improves.
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
        ("model=sparse", "model.latent_dim=1024", "constraint.topk.k=1"),
        "dead_units",
        "constraint.topk.k=4",
    ),
    "eight active units, learned ten times too fast": Sick(
        (
            *("model=sparse", "model.latent_dim=1024", "constraint.topk.k=8"),
            *("optimizer.lr=0.01", "dataset.batch_size=128"),
        ),
        "dead_units",
        "constraint=[topk,auxk]",
    ),
    "a heavy L1 penalty": Sick(
        (
            *(
                "model=sparse",
                "model.latent_dim=1024",
                "constraint=l1",
                "constraint.l1.weight=1000",
            ),
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
    "few rows of a table": Sick(
        (
            *("dataset=array", "dataset.path={folder}/table.npy"),
            *("trainer.max_epochs=60", "optimizer.lr=0.003"),
        ),
        "few_samples",
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
    "a likelihood with more noise than the data": Sick(
        ("model=variational", "trainer.max_epochs=30"), "pca", "likelihood=gaussian"
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
    """Write the data of the sick runs."""
    generator = np.random.default_rng(0)
    np.save(folder / "noise.npy", generator.random((160, 32)).astype(np.float32))
    np.save(folder / "gray.npy", generator.random((600, 16)).astype(np.float32))
    np.save(folder / "photographs.npy", draw_scenes(generator, 120))
    np.save(folder / "table.npy", load_breast_cancer().data.astype(np.float32))
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
