"""Attempt to train: the parts of a run and the Trainer that fits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from aeframe.monitoring.loggers.delivery import Delivery
from aeframe.runs.checkpoint import Saved
from aeframe.training.build import Built, build
from aeframe.training.checkpointing import Best
from aeframe.training.trainer import make_trainer


@dataclass(frozen=True)
class Attempt:
    """Parts for one call of Trainer.fit. A retry after divergence is another attempt.

    delivery: sends the run to its loggers. brief: no lines of progress are printed.
    """

    built: Built
    trainer: pl.Trainer
    best: Best
    delivery: Delivery
    brief: bool = False

    @property
    def tried(self) -> tuple[int, ...]:
        """Steps of all checkpoints that the run went back to."""
        return self.built.module.guard.tried

    @property
    def value(self) -> float:
        """Optimized metric of the best checkpoint; NaN without a validation."""
        score = self.best.best_model_score
        return math.nan if score is None else float(score)


def prepare(
    node: Mapping[str, Any],
    folder: Path,
    tried: tuple[int, ...] = (),
    saved: Saved | None = None,
    *,
    brief: bool = False,
) -> Attempt:
    """Check, seed and build what an attempt needs. tried, brief: see Attempt. Raises UserError.

    saved: the checkpoint from which it resumes.
    """
    built = build(node, saved)
    built.module.guard.tried = tried
    best = Best(folder, built.node["optimized_metric"])
    delivery = Delivery(built.loggers, folder, built.node)
    trainer = make_trainer(built, folder, best, delivery, brief=brief)
    return Attempt(built, trainer, best, delivery, brief)
