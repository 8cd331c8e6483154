"""Choices and results of a run, as columns for TensorBoard's HParams."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aeframe.evaluation.card import Card

MOST_CHOICES = 24
"""Largest number of choices among the columns."""
RESULT = "→ "
"""Beginning of a result's name. TensorBoard sorts columns by name and ticks the first five that differ: the
best `FIRST`, then choices, then results."""
FIRST = "val/mse"
"""The optimized metric of most variants. The best values of others stand among the results: three of
them would leave no tick for what was swept."""


def select_choices(
    hyperparameters: Mapping[str, Any], latent_dim: int, typed: Iterable[str] = ()
) -> dict[str, Any]:
    """Select the choices by which runs are compared, by configuration key.

    latent_dim: of the network; a bottleneck may have set it. typed: overrides of the command line,
    which a sweep may vary.
    """
    h = hyperparameters
    found = {
        "model": h["model"]["_target_"].rpartition(".")[2],
        "model.latent_dim": latent_dim,
        "network": h["network"]["_target_"].rpartition(".")[2],
        "network.widths": str(h["network"].get("widths")),
        "likelihood": h["likelihood"]["_target_"].rpartition(".")[2],
        "dataset": h["dataset"]["_target_"].rpartition(".")[2],
        "dataset.batch_size": h["dataset"].get("batch_size"),
        "constraint": "+".join(h["constraint"] or {}) or "free",
        "optimizer.lr": h["optimizer"].get("lr"),
        "trainer.max_epochs": h["trainer"].get("max_epochs"),
        "seed": h["seed"],
    }
    if "beta" in h["model"]:
        found["model.beta"] = h["model"]["beta"]
    others = [*_find_typed(h, typed), *_list_constraint_options(h["constraint"] or {})]
    for key, value in others:
        if len(found) < MOST_CHOICES:
            found.setdefault(key, value)
    plain = (str, int, float, bool)
    return {key: v if isinstance(v, plain) else str(v) for key, v in found.items()}


def _list_constraint_options(constraints: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """List the numbers of all constraints, each one's first and most important (k, weight) first."""
    options = [
        (place, f"constraint.{name}.{key}", value)
        for name, options in constraints.items()
        for place, (key, value) in enumerate(options.items())
        if isinstance(value, (int, float))
    ]
    return [(key, value) for _, key, value in sorted(options, key=lambda option: option[0])]


def _find_typed(
    hyperparameters: Mapping[str, Any], typed: Iterable[str]
) -> Iterator[tuple[str, Any]]:
    """Yield the keys that were typed, with their values, if these are plain."""
    for word in typed:
        key = word.partition("=")[0].lstrip("+~")
        value: Any = hyperparameters
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, (str, int, float)):
            yield key, value


def select_results(card: Card, metric: str, value: float) -> dict[str, float]:
    """Select the final metrics. metric: the optimized one, and its best value; NaN without a
    validation.
    """
    name = f"{'' if metric == FIRST else RESULT}best {metric}"
    best = {} if math.isnan(value) else {name: value}
    return best | {f"{RESULT}test/{name}": number for name, number in card.metrics.items()}
