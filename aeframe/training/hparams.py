"""Hyperparameters and final metrics of a run, for TensorBoard's HParams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aeframe.evaluation.card import Card

MOST_CHOICES = 24
"""Largest number of columns in TensorBoard's HParams."""


def select_choices(hyperparameters: Mapping[str, Any], latent_dim: int) -> dict[str, Any]:
    """Select the choices by which runs are compared in TensorBoard's HParams.

    latent_dim: of the network; a bottleneck may have set it.
    """
    h = hyperparameters
    found = {
        "model": h["model"]["_target_"].rpartition(".")[2],
        "latent_dim": latent_dim,
        "network": h["network"]["_target_"].rpartition(".")[2],
        "widths": str(h["network"].get("widths")),
        "likelihood": h["likelihood"]["_target_"].rpartition(".")[2],
        "dataset": h["dataset"]["_target_"].rpartition(".")[2],
        "batch_size": h["dataset"].get("batch_size"),
        "constraint": "+".join(h["constraint"] or {}) or "free",
        "lr": h["optimizer"].get("lr"),
        "max_epochs": h["trainer"].get("max_epochs"),
        "seed": h["seed"],
    }
    if "beta" in h["model"]:
        found["beta"] = h["model"]["beta"]
    of_constraints = [  # k, weight, rate: a constraint's first key is its most important one
        (place, f"{name}.{key}", value)
        for name, options in (h["constraint"] or {}).items()
        for place, (key, value) in enumerate(options.items())
        if isinstance(value, (int, float))
    ]
    of_constraints.sort(key=lambda one: one[0])
    found |= {key: value for _, key, value in of_constraints[: MOST_CHOICES - len(found)]}
    plain = (str, int, float, bool)
    return {name: v if isinstance(v, plain) else str(v) for name, v in found.items()}


def select_metrics(card: Card, value: float) -> dict[str, float]:
    """Select the final metrics for TensorBoard's HParams."""
    optimized = {} if math.isnan(value) else {"optimized_metric": value}  # without a validation
    return optimized | {f"test/{k}": v for k, v in card.metrics.items()}
