"""Checkpoints of a run: the best and the last."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn

from aeframe.config.options import CheckpointOptions
from aeframe.core.distributed import get_rank, maximize_over_ranks
from aeframe.core.errors import MachineError, TrainingError, describe_error
from aeframe.core.files import find_os_error, write_atomically
from aeframe.core.signals import Interrupted, Signals
from aeframe.evaluation.metric_names import find_better
from aeframe.runs.checkpoint import load_state
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST, PREVIOUS
from aeframe.training.loop_position import completes_step, is_last_of_epoch, is_validation_due
from aeframe.training.objective import is_settled

CALMER = "Write a lower optimizer.lr, trainer.gradient_clip_val=1, or a smaller weight of the term."


class WholeFiles(TorchCheckpointIO):
    """Checkpoint files that are complete or absent: each is written under another name, then renamed."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        target = Path(path)
        try:
            target.parent.mkdir(exist_ok=True)  # but not the run's folder, if it was deleted
            with write_atomically(target) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            if (why := find_os_error(error)) is None:
                raise
            raise MachineError(f"{target} could not be written ({describe_error(why)}).") from error

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: Any = True
    ) -> dict[str, Any]:
        """Load tensors and plain data, never code, even if Lightning asks for it."""
        return torch.load(path, map_location=map_location, weights_only=True)


class Best(ModelCheckpoint):
    """Callback that keeps the weights with the best validation metric, after all schedules have ended.

    No run is resumed from this checkpoint. is_last: afterwards, whether the last weights were kept instead,
    because there was no such validation.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        super().__init__(
            folder / CHECKPOINTS,
            Path(BEST).stem,
            monitor=metric,
            mode=find_better(metric),
            auto_insert_metric_name=False,
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

        self.resumes = self.is_last = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_settled(trainer):
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the scores. The file is always the one in this folder, not the path in the state."""
        self.resumes, self.current_score = True, state_dict.get("current_score")
        file, score = Path(str(self.dirpath)) / BEST, state_dict.get("best_model_score")
        if score is None:
            return
        if not file.exists():
            if get_rank() == 0:
                what = "is missing: the search for the best weights starts again here"
                print(f"aeframe: {file}: {what}.", file=sys.stderr)
            return
        self.best_model_path = self.kth_best_model_path = str(file)
        self.best_model_score = self.kth_value = torch.as_tensor(score)
        self.best_k_models = {str(file): self.kth_value}

    def has_best(self) -> bool:
        """Check whether the file exists and has the best score.

        A killed run may have left the file of a later validation, which the resumed run did not reach.
        """
        if self.best_model_score is None or self.best_model_path == "":
            return False
        if not self.resumes:
            return True
        score = load_state(Path(self.best_model_path))["callback_metrics"][self.monitor]
        return score == float(self.best_model_score)


class Last(pl.Callback):
    """Callback that keeps the last checkpoint, from which a run is resumed.

    It is written every few minutes, before anything that may end training, and after a signal, which then
    ends training. may_stop: whether a validation can end training. keeps_previous: whether the checkpoint
    before it is kept, too, in case the loss had diverged before the last one.
    """

    def __init__(
        self,
        folder: Path,
        options: CheckpointOptions,
        signals: Signals,
        *,
        may_stop: bool,
        keeps_previous: bool,
    ) -> None:
        self.folder, self.path = folder, folder / CHECKPOINTS / LAST
        self.seconds, self.signals, self.may_stop = options.every_minutes * 60, signals, may_stop
        self.keeps_previous, self.saved = keeps_previous, time.monotonic()

    def after_batch(self, trainer: pl.Trainer) -> None:
        """Save after a batch if a checkpoint is due. Raises Interrupted after a signal."""
        if not completes_step(trainer):
            return  # its gradients are not in the weights yet
        due = time.monotonic() - self.saved >= self.seconds or self._may_end(trainer)
        device = trainer.strategy.root_device
        signal, anyone = maximize_over_ranks((self.signals.received, int(due)), device)
        if anyone or signal:
            self.save(trainer)
        if signal:
            raise Interrupted(signal, self.folder)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save and stop within a validation after a signal; a resumed run repeats the validation.

        With several ranks the signal waits, because they may have unequal numbers of batches.
        """
        if (
            self.signals.received
            and trainer.world_size == 1
            and trainer.state.fn == TrainerFn.FITTING
        ):
            self.save(trainer)
            raise Interrupted(self.signals.received, self.folder)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint, and before it all logged values. Raises TrainingError for NaN in weights."""
        weights = trainer.lightning_module.parameters()
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise TrainingError(
                f"the weights became NaN or infinite in step {trainer.global_step}. {CALMER}"
            )
        for logger in trainer.loggers:
            logger.save()
        if self.keeps_previous and self.path.exists():
            _copy(self.path, self.path.with_name(PREVIOUS))
        trainer.save_checkpoint(self.path)
        self.saved = time.monotonic()

    def _may_end(self, trainer: pl.Trainer) -> bool:
        final = is_last_of_epoch(trainer) and trainer.current_epoch + 1 == trainer.max_epochs
        final |= 0 <= trainer.max_steps <= trainer.global_step
        return final or trainer.should_stop or (self.may_stop and is_validation_due(trainer))


def _copy(source: Path, target: Path) -> None:
    """Copy a file, as a second link to it if possible."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:  # not every file system has links
        shutil.copyfile(source, partial)
    partial.replace(target)
    partial.unlink(missing_ok=True)  # still there if both names were one file


def collect_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """Collect the metrics of the last validation, which Lightning does not save."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def restore_metrics(trainer: pl.Trainer, values: Mapping[str, float]) -> None:
    """Restore the metrics of the last validation for schedules and callbacks."""
    known = {str(name): torch.tensor(value) for name, value in values.items()}
    trainer.callback_metrics.update(known)
