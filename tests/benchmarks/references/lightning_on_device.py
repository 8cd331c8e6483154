"""PyTorch Lightning with all its defaults, and the images as floats where they are trained on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from tests.benchmarks.references.lightning import fit
from tests.benchmarks.work import Trained, Work
from tests.benchmarks.workspace import Workspace, scaled


def train(work: Work, space: Workspace, seed: int, folder: Path) -> Trained:
    """Train from one tensor on the device, which the DataLoader reads image by image."""
    torch.manual_seed(seed)
    network = work.network.build()
    network.start_at(space.digits.mean)
    splits = (space.digits.train, space.digits.val[: work.val])
    training, validation = (TensorDataset(scaled(rows.to(work.device))) for rows in splits)
    return fit(network, work, folder, training, validation)
