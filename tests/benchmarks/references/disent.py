"""disent 0.8 (Michlo 2021): its Ae framework with our encoder and decoder, trained by Lightning."""

from __future__ import annotations

from pathlib import Path

import lightning
import torch
from disent.dataset import DisentDataset
from disent.frameworks.ae import Ae
from disent.model import AutoEncoder, DisentDecoder, DisentEncoder
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.clock import clocked
from tests.benchmarks.networks import IMAGE, Autoencoder
from tests.benchmarks.work import RATE, Trained, Work, adam_steps
from tests.benchmarks.workspace import Workspace, scaled


class Encoder(DisentEncoder):
    """Our encoder; disent wants images of three axes."""

    def __init__(self, network: Autoencoder, latent: int) -> None:
        super().__init__(x_shape=IMAGE, z_size=latent, z_multiplier=1)
        self.layers, self.shape = network.encoder, network.shape

    def encode(self, x: Tensor) -> Tensor:
        return self.layers(x.view(-1, *self.shape))


class Decoder(DisentDecoder):
    """Our decoder."""

    def __init__(self, network: Autoencoder, latent: int) -> None:
        super().__init__(x_shape=IMAGE, z_size=latent, z_multiplier=1)
        self.layers = network.decoder

    def decode(self, z: Tensor) -> Tensor:
        return self.layers(z).view(-1, *IMAGE)


class Images(Dataset[Tensor]):
    """Floats in memory, image by image."""

    def __init__(self, rows: Tensor) -> None:
        self.images = scaled(rows).view(-1, *IMAGE)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Tensor:
        return self.images[position]


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train. Its loss is the whole squared error, twice ours, of which Adam makes the same steps."""
    data = space.digits
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(data.mean)
    latent = work.network.latent
    model = AutoEncoder(Encoder(network, latent), Decoder(network, latent))
    options = {"optimizer": "adam", "optimizer_kwargs": {"lr": RATE}}
    framework = Ae(model=model, cfg=Ae.cfg(loss_reduction="mean_sum", **options))
    trainer = lightning.Trainer(
        max_epochs=work.epochs,
        limit_train_batches=work.limit,
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
    )
    with clocked(lightning.pytorch) as clock:
        trainer.fit(
            framework,
            _loader(data.train, work, shuffle=True),
            _loader(data.val[: work.val], work, shuffle=False),
        )
    return Trained(clock.seconds, adam_steps(trainer.optimizers[0].state_dict()), network)


def _loader(images: Tensor, work: Work, *, shuffle: bool) -> DataLoader[Tensor]:
    return DataLoader(DisentDataset(Images(images)), batch_size=work.batch, shuffle=shuffle)
