"""PyTorch Lightning as its documentation shows it, with all its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from tests.benchmarks.clock import clocked
from tests.benchmarks.networks import Autoencoder
from tests.benchmarks.references.bare import loss_of
from tests.benchmarks.work import RATE, Trained, Work, adam_steps
from tests.benchmarks.workspace import Workspace


class LitAutoencoder(pl.LightningModule):
    """Trains half the squared error."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=RATE)

    def _loss(self, batch: Sequence[Tensor]) -> Tensor:
        images, *_ = batch
        return loss_of(self.network, images.view(-1, *self.network.shape))


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train from torchvision's data set, image by image."""
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(space.digits.mean)
    images = MNIST(space.unpacked, transform=ToTensor())
    training, validation = random_split(images, [work.train, work.val])
    return fit(network, work, folder, training, validation)


def fit(
    network: Autoencoder,
    work: Work,
    folder: Path,
    training: Dataset[Any],
    validation: Dataset[Any],
) -> Trained:
    """Train on what a DataLoader makes of these: images first, whatever else there is."""
    trainer = pl.Trainer(
        max_epochs=work.epochs,
        limit_train_batches=work.limit,
        default_root_dir=folder,
        accelerator=work.device,
        devices=1,
    )
    with clocked() as clock:
        trainer.fit(
            LitAutoencoder(network),
            DataLoader(training, batch_size=work.batch, shuffle=True, num_workers=0),
            DataLoader(validation, batch_size=work.batch, num_workers=0),
        )
    return Trained(clock.seconds, adam_steps(trainer.optimizers[0].state_dict()), network.cpu())
