"""Numbers of one epoch of training."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytorch_lightning as pl


class Epoch(NamedTuple):
    """Numbers that stay the same in an epoch. To ask Lightning for them takes longer than a small step.

    number: from 0. steps: of the optimizer. images: samples in a step, over all ranks, on average.
    logged: steps from one logged step to the next, at most those of the epoch.
    """

    number: int
    steps: int
    images: float
    logged: int
    rank: int
    world: int


def describe_epoch(
    trainer: pl.Trainer, *, samples: int, batch_size: int, log_every_n_steps: int
) -> Epoch:
    """Return the numbers of the epoch that the Trainer begins. samples: in the training split."""
    # the last step of an epoch may have fewer batches to accumulate
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
