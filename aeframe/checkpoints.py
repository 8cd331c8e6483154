"""What a run keeps of its weights, and how that is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there, so that none is ever half there."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


class Last(ModelCheckpoint):
    """Keeps the last checkpoint, as another name of the best one where that has just been written.

    Lightning's own save_last would save only when the best is new.
    """

    def __init__(self, best: ModelCheckpoint) -> None:
        super().__init__(
            best.dirpath,
            "last",
            monitor=None,
            enable_version_counter=False,
            save_on_train_epoch_end=True,  # also of epochs that no validation ends
        )
        self.best = best

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        step = trainer.global_step
        if self.best._last_global_step_saved != step or not self.best.best_model_path:
            return super()._save_checkpoint(trainer, filepath)
        if trainer.is_global_zero:
            _copy(Path(self.best.best_model_path), Path(filepath))
        self._last_global_step_saved, self._last_checkpoint_saved = step, filepath
        return None


def _copy(source: Path, target: Path) -> None:
    """Give the file another name, which a later checkpoint of either name does not touch."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:  # not every file system has links
        shutil.copyfile(source, partial)
    partial.replace(target)
    partial.unlink(missing_ok=True)  # still there where both were one file already
