"""Sharding: weights of which each rank holds a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl


def is_sharded(trainer: pl.Trainer) -> bool:
    """Whether each rank holds some of the weights only: one alone cannot pass anything through them."""
    from pytorch_lightning.strategies import FSDPStrategy

    return isinstance(trainer.strategy, FSDPStrategy)
