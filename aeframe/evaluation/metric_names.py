"""Names of a run's metrics, and the direction in which each is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from aeframe.constraints.constraint import Constraint
from aeframe.models.autoencoder import Autoencoder

MAXIMIZED = (
    *("psnr", "explained_variance", "gain_db", "denoised_psnr", "active_units"),
    *("probe_accuracy", "knn_accuracy", "probe_r2", "silhouette", "trustworthiness", "ssim"),
)
"""Metrics that are better if they are larger; all others are better if they are smaller."""
ALWAYS = ("mse", "psnr", "explained_variance", "loss")
SPARSE = ("l0", "dormant", "dead")
DENOISED = ("denoised_mse", "denoised_psnr")
CORRUPTED = ("corrupted_psnr", *DENOISED, "gain_db")
STOCHASTIC = ("active_units", "kl", "negative_elbo")
METRICS = (*ALWAYS, *SPARSE, *CORRUPTED, *STOCHASTIC)
"""All metrics except terms of the loss: those of every run, and those of some constraints or models."""


def find_better(name: str) -> Literal["min", "max"]:
    """Return `max` or `min` for a metric's name, with or without its split ("val/psnr")."""
    return "max" if name.rpartition("/")[2] in MAXIMIZED else "min"


def choose_default_metric(
    model: type[Autoencoder],
    constraints: Iterable[Constraint | type[Constraint]],
    options: Mapping[str, Any],
) -> str:
    """Return the metric that picks the best checkpoint by default. It is the loss if a penalty is an
    objective, else the model's own aim. options: of the model.
    """
    given = frozenset[str]().union(*(part.gives for part in constraints))
    if "objective" in given:
        return "val/loss"
    aim = model.aim(options)
    # pairs of noisy and clean samples need no corruption
    return "val/mse" if aim in CORRUPTED and "corrupted input" not in given else f"val/{aim}"


def list_metric_names(
    model: type[Autoencoder],
    constraints: Mapping[str, Constraint | type[Constraint]],
    options: Mapping[str, Any],
    *,
    has_target: bool = False,
) -> list[str]:
    """List the validation metrics of a run with these parts. has_target: beside the samples."""
    names = list(ALWAYS)
    given = frozenset(model.gives).union(*(part.gives for part in constraints.values()))
    names += SPARSE if "sparsity" in given else ()
    if "corrupted input" in given:
        names += DENOISED if has_target else CORRUPTED
    names += STOCHASTIC if "posterior" in given else ()
    names += model.term_names(options)
    penalized = (name for name, part in constraints.items() if "penalty" in part.gives)
    return [f"val/{name}" for name in (*names, *penalized)]
