"""One epoch of training, in numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytorch_lightning as pl


class Epoch(NamedTuple):
    """Numbers that stay the same for one epoch. Lightning takes longer to find them than a small step takes.

    number: from 0. steps: of the optimizer. images: for each step, over all ranks and on average. logged: one
    step of so many is written, and at least one of the epoch.
    """

    number: int
    steps: int
    images: float
    logged: int
    rank: int
    world: int


def present_epoch(
    trainer: pl.Trainer, *, samples: int, batch_size: int, log_every_n_steps: int
) -> Epoch:
    """Return the epoch that the Trainer begins. samples: of the training split."""
    # Lightning steps on what is left of the last window of an epoch, too
    batches = trainer.num_training_batches
    steps = max(math.ceil(batches / trainer.accumulate_grad_batches), 1)
    return Epoch(
        number=trainer.current_epoch,
        steps=steps,
        images=min(batches * batch_size, samples) / steps,
        logged=min(log_every_n_steps, steps, trainer.max_steps if trainer.max_steps > 0 else steps),
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
