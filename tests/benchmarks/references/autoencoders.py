"""autoencoders 0.6 (github.com/Jyonn/autoencoders): its AE model with our layers, its AETrainer."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from autoencoders.data.base import DatasetLoaders, TensorSpec
from autoencoders.models.ae import AutoencoderConfig, AutoencoderModel
from autoencoders.training import AETrainer, TrainingConfig
from torch import Tensor
from torch.utils.data import DataLoader

from tests.benchmarks.work import RATE, Trained, Work, adam_steps
from tests.benchmarks.workspace import Workspace, scaled


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train on floats in memory. It has no limit of batches either: see pythae.

    Its loss is the mean over pixels, ours by a constant factor. It saves the weights alone, when they are
    the best; its evaluation on the test split gets one image.
    """
    data = space.digits
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(data.mean)
    model = AutoencoderModel(
        AutoencoderConfig(),
        sample_spec=TensorSpec(network.shape),
        encoder=network.encoder,
        decoder=network.decoder,
    )
    options = {"epochs": work.epochs, "learning_rate": RATE, "device": "cpu", "seed": seed}
    trainer = AETrainer(model, TrainingConfig(output_dir=str(folder), **options))
    chosen = data.train[torch.randperm(len(data.train))[: work.epoch_images]]
    splits = (chosen, data.val[: work.val], data.test[:1])
    loaders = DatasetLoaders(*(_loader(rows, work, network.shape) for rows in splits))
    started = time.perf_counter()
    trainer.fit(loaders)
    seconds = time.perf_counter() - started
    return Trained(seconds, adam_steps(trainer.optimizer.state_dict()), network)


def _loader(rows: Tensor, work: Work, shape: tuple[int, ...]) -> DataLoader[Tensor]:
    """A tensor is a data set of its rows."""
    return DataLoader(scaled(rows).view(-1, *shape), batch_size=work.batch, shuffle=True)
