"""Runs without their files: what was built, the trainer, and the validations."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl
from omegaconf import DictConfig

from aeframe.training.build import Built, build
from aeframe.training.stopping import Until

Compose = Callable[..., DictConfig]

SMALL = (
    *("network=linear", "model.latent_dim=8", "optimizer.lr=0.01", "network.start=random"),
    *("trainer.max_epochs=8", "trainer.limit_train_batches=4", "dashboard.images=0"),
)
STILL = "optimizer.lr=1e-30"
"""Less than any weight can show: nothing improves."""


class History(pl.Callback):
    """Every validation's metrics."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append({name: float(v) for name, v in trainer.callback_metrics.items()})

    def of(self, metric: str) -> list[float]:
        return [metrics[metric] for metrics in self.seen]


class Fitted:
    """A run without its files: what was built, the trainer, and the validations."""

    def __init__(
        self, compose: Compose, *overrides: str, more: tuple[pl.Callback, ...] = ()
    ) -> None:
        self.built: Built = build(compose(*SMALL, *overrides))
        self.history = History()
        self.trainer = pl.Trainer(
            **self.built.trainer,
            callbacks=[*self.built.callbacks, *more, self.history],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        self.trainer.fit(self.built.module)

    @property
    def epochs(self) -> int:
        return self.trainer.current_epoch

    @property
    def until(self) -> Until:
        return next(c for c in self.built.callbacks if isinstance(c, Until))
