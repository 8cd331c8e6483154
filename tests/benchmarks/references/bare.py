"""A training loop written for speed, with only validation and a checkpoint around it."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tests.benchmarks.networks import Autoencoder
from tests.benchmarks.work import RATE, Trained, Work, adam_steps
from tests.benchmarks.workspace import Workspace, scaled


def loss_of(network: Autoencoder, x: Tensor) -> Tensor:
    """Compute half the squared error of an image, averaged over the batch: aeframe's loss without its
    constant.
    """
    return F.mse_loss(network(x), x, reduction="sum") / (2 * len(x))


@torch.no_grad()
def validate(network: Autoencoder, images: Tensor, batch: int) -> float:
    """Squared error per pixel of uint8 images [N, 784]."""
    network.eval()
    total = torch.zeros(())
    for rows in images.split(batch):
        x = scaled(rows).view(-1, *network.shape)
        total += F.mse_loss(network(x), x, reduction="sum")
    network.train()
    return float(total) / images.numel()


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train; the clock runs from before the first permutation to behind the last checkpoint."""
    data = space.digits
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(data.mean)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    started = time.perf_counter()
    for _ in range(work.epochs):
        order = torch.randperm(len(data.train))[: work.epoch_images]
        for rows in order.split(work.batch):
            x = scaled(data.train.index_select(0, rows)).view(-1, *network.shape)
            loss = loss_of(network, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        validate(network, data.val[: work.val], work.batch)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, folder / "last.pt")
    seconds = time.perf_counter() - started
    return Trained(seconds, adam_steps(optimizer.state_dict()), network)
