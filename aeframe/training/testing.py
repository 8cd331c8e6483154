"""Test of a trained network: the best checkpoint on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.evaluation.card import Card
from aeframe.runs.test_errors import TestErrors
from aeframe.training.attempt import Attempt
from aeframe.training.checkpointing import collect_metrics


@dataclass(frozen=True)
class Tested:
    """Results of the best checkpoint: evaluation card, validation metrics, number of steps, and errors of
    test samples.
    """

    card: Card
    validation: dict[str, float]
    steps: int
    errors: TestErrors


def test(attempt: Attempt, net: ConstrainedAutoencoder) -> Tested | None:
    """Measure the best checkpoint on the test split. Returns None on all ranks but the first.

    net: an untrained copy, into which the weights are loaded, because the trained network may be sharded.
    """
    built, trainer, path = attempt.built, attempt.trainer, attempt.best.best_model_path
    trainer.test(built.module, ckpt_path=path, verbose=False)
    if not trainer.is_global_zero:
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    trainer.precision_plugin.convert_module(net)  # as the trained one was
    net.load_state_dict(_select("net.", saved["state_dict"]))
    net.to(trainer.strategy.root_device)
    errors = TestErrors.measure(net, built.data)
    metrics = _select("test/", collect_metrics(trainer))
    metrics["mse_standard_error"] = errors.standard_error
    card = built.evaluation.make_card(net, built.data, metrics)
    return Tested(card, _select("val/", saved["callback_metrics"]), saved["global_step"], errors)


def _select(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
