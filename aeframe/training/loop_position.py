"""Position of the loops: what a Trainer has done of an epoch, from its public counts."""

from __future__ import annotations

import pytorch_lightning as pl


def is_last_of_epoch(trainer: pl.Trainer) -> bool:
    """Check whether this batch is the last of its epoch."""
    return trainer.is_last_batch or trainer.fit_loop.batch_idx + 1 == trainer.num_training_batches


def completes_step(trainer: pl.Trainer) -> bool:
    """Check whether the optimizer takes its step after this batch, or accumulates more of them."""
    batches = trainer.fit_loop.batch_idx + 1
    return batches % trainer.accumulate_grad_batches == 0 or is_last_of_epoch(trainer)


def is_validation_due(trainer: pl.Trainer) -> bool:
    """Check whether a validation follows this batch."""
    every = trainer.check_val_every_n_epoch
    assert isinstance(every, int)
    assert isinstance(trainer.val_check_batch, int)
    return (
        trainer.enable_validation
        and (trainer.current_epoch + 1) % every == 0
        and (trainer.fit_loop.batch_idx + 1) % trainer.val_check_batch == 0
    )
