"""Sharding: weights that are split over ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl


def is_sharded(trainer: pl.Trainer) -> bool:
    """Check whether each rank holds only a part of the weights, and cannot run the network alone."""
    from pytorch_lightning.strategies import FSDPStrategy

    return isinstance(trainer.strategy, FSDPStrategy)
