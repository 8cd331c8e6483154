"""What TensorBoard shows besides scalars: images and histograms, on the same samples each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.strategies import FSDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from aeframe.config.callbacks import DashboardOptions
from aeframe.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.models.base import Output
from aeframe.models.variational import Variational
from aeframe.noise import Noise


@rank_zero_only
def write_scalars(loggers: Iterable[Logger], values: Mapping[str, float], step: int) -> None:
    """All values of one step as one event, which costs a fraction of one event for each."""
    summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
    for logger in loggers:
        assert isinstance(logger, TensorBoardLogger)
        assert logger.experiment.file_writer is not None
        logger.experiment.file_writer.add_summary(summary, step)


class Dashboard(pl.Callback):
    """Rows of input, corrupted, reconstruction and error; samples; the code's histogram.

    Nothing is drawn where weights are sharded: one rank alone cannot pass anything through them.
    """

    def __init__(self, options: DashboardOptions) -> None:
        self.images, self.every = options.images, options.every_n_epochs
        self.x: Tensor | None = None
        self.epoch: int | None = None  # of the last drawing, and its step
        self.step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.step = state_dict["epoch"], state_dict["step"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = self.epoch is None or trainer.current_epoch - self.epoch >= self.every
        if due and not trainer.sanity_checking:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.step != trainer.global_step:
            pl_module.eval()
            self._draw(trainer, pl_module)
            pl_module.train()

    @torch.no_grad()
    def _draw(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        sharded = isinstance(trainer.strategy, FSDPStrategy)
        if sharded or not self.images or not trainer.is_global_zero:
            return
        net, writer, step = module.net, module.logger.experiment, trainer.global_step  # type: ignore
        assert isinstance(net, ConstrainedAutoencoder)
        if self.x is None:
            data = module.data
            assert isinstance(data, DataModule)
            self.spec, self.x = data.spec, data.peek("val", self.images, net.normalization)
        assert isinstance(writer, SummaryWriter)
        self.epoch, self.step = trainer.current_epoch, step
        noise = Noise("dashboard")
        output = net(self.x, noise=noise)
        writer.add_histogram("val/code", output.code.value.flatten(), step)
        if len(self.spec.shape) != 3:
            return
        grid = reconstruction_grid(output, net.corrupts, self.spec.low, self.spec.high)
        writer.add_image("val/reconstruction", grid, step)
        if isinstance(net.model, Variational):
            drawn = net.model.sample(self.images * 4, noise.stream("prior"), module.device)
            writer.add_image("val/samples", _grid(drawn, self.spec.low, self.spec.high, 8), step)


def reconstruction_grid(output: Output, corrupts: bool, low: float, high: float) -> Tensor:
    """One column for each sample: input, corrupted input if any, reconstruction, error; [3, H, W].

    The error is its absolute value on the data's own scale.
    """
    n = len(output.x)
    restored = output.reconstruction[:n]
    error = (restored - output.x).abs() + low
    rows = [output.x, *([output.corrupted] if corrupts else []), restored, error]
    return _grid(torch.cat(rows), low, high, n)


def _grid(images: Tensor, low: float, high: float, columns: int) -> Tensor:
    scaled = ((images.float() - low) / (high - low)).clamp(0, 1)
    if scaled.shape[1] not in (1, 3):  # other channels have no colour
        scaled = scaled.mean(1, keepdim=True)
    enlarge = max(1, 56 // scaled.shape[-1])  # small images would be specks
    scaled = scaled.repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3)
    return make_grid(scaled, nrow=columns, padding=2, pad_value=0.5)
