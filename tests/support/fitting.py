"""Training without a logger or checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from aeframe.training.build import Built
from aeframe.training.speed.steps_ahead import StepsAhead


class Losses(pl.Callback):
    """Losses of all steps."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.values.append(float(outputs["loss"]))


def fit(built: Built, folder: Path, **options: Any) -> tuple[pl.Trainer, list[float]]:
    """Train without a logger or checkpoints; the trainer and the loss of each step."""
    losses = Losses()
    trainer = pl.Trainer(
        **{**built.trainer, **options},
        callbacks=[losses, StepsAhead(built.training.steps_per_call)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        default_root_dir=folder,
    )
    trainer.fit(built.module)
    return trainer, losses.values
