"""pythae 0.1.2 (Chadebec et al. 2022): its AE with our encoder and decoder, its BaseTrainer."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import AE, AEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn

from tests.benchmarks.work import RATE, Trained, Work, adam_steps
from tests.benchmarks.workspace import Workspace, scaled


class Encoder(BaseEncoder):
    """Our encoder, with pythae's answer."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.layers(x))


class Decoder(BaseDecoder):
    """Our decoder, with pythae's answer."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train on floats in memory, as pythae's tutorials do.

    It knows no limit of batches: it gets as many images as the others see, in epochs of its own order.
    Its loss is the whole squared error, twice ours, of which Adam makes the same steps.
    """
    data = space.digits
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(data.mean)
    config = BaseTrainerConfig(
        output_dir=str(folder),
        num_epochs=work.epochs,
        learning_rate=RATE,
        per_device_train_batch_size=work.batch,
        per_device_eval_batch_size=work.batch,
        steps_saving=1,
        no_cuda=True,
        seed=seed,
    )
    size = AEConfig(input_dim=network.shape, latent_dim=work.network.latent)
    chosen = torch.randperm(len(data.train))[: work.epoch_images]
    trainer = BaseTrainer(
        AE(size, Encoder(network.encoder), Decoder(network.decoder)),
        _dataset(data.train[chosen], network.shape),
        _dataset(data.val[: work.val], network.shape),
        config,
    )
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    return Trained(seconds, adam_steps(trainer.optimizer.state_dict()), network)


def _dataset(images: Tensor, shape: tuple[int, ...]) -> BaseDataset:
    return BaseDataset(scaled(images).view(-1, *shape), torch.zeros(len(images)))
