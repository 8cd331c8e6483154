"""Test of a trained network: the best checkpoint on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.evaluation.card import Card
from aeframe.training.attempt import Attempt


@dataclass(frozen=True)
class Tested:
    """The best checkpoint's card, the metrics that it had in validation, and after how many steps."""

    card: Card
    validation: dict[str, float]
    steps: int


def test(attempt: Attempt, net: ConstrainedAutoencoder) -> Tested | None:
    """Measure the best checkpoint on the test split; None on all ranks but the first.

    net: untrained. It takes the weights of the checkpoint, for the trained network may be sharded.
    """
    built, trainer, path = attempt.built, attempt.trainer, attempt.best.best_model_path
    measured = trainer.test(built.module, ckpt_path=path, verbose=False)[0]
    if not trainer.is_global_zero:
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    trainer.precision_plugin.convert_module(net)  # as the trained one was
    net.load_state_dict(_below("net.", saved["state_dict"]))
    net.to(trainer.strategy.root_device)
    card = built.evaluation.card(net, built.data, _below("test/", measured))
    return Tested(card, _below("val/", saved["callback_metrics"]), saved["global_step"])


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
