"""Amount of training, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tests.benchmarks.networks import Autoencoder, Network

Device = Literal["cpu", "cuda"]

RATE = 1e-3
"""Adam's learning rate in every arm."""


@dataclass(frozen=True)
class Work:
    """One amount of work, the same for both arms of a row.

    batch: images. limit: batches of an epoch, or None for all. val: images held out, which pass through the
    network once after each epoch, in batches of any size. total: images of the data, `test` of which neither
    trains nor validates. device: where both arms train.
    """

    network: Network
    batch: int = 128
    epochs: int = 1
    limit: int | None = None
    val: int = 6_000
    total: int = 60_000
    test: int = 0
    device: Device = "cpu"

    @property
    def name(self) -> str:
        """network/batch, as in the names of rows."""
        return f"{self.network.name}/{self.batch}"

    @property
    def train(self) -> int:
        """Images in the training split."""
        return self.total - self.val - self.test

    @property
    def epoch_images(self) -> int:
        """Images trained on in one epoch."""
        return min(self.train, (self.limit or self.train) * self.batch)

    @property
    def images(self) -> int:
        """Images trained on in all."""
        return self.epochs * self.epoch_images

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps."""
        return self.epochs * math.ceil(self.epoch_images / self.batch)


@dataclass(frozen=True)
class Trained:
    """Result of one training by one arm.

    seconds: from the start of training to its end. steps: as Adam itself counted them.
    network: with the weights that training ended with; None where those are not compared.
    faults: what the arm should have done or left behind, and did not.
    """

    seconds: float
    steps: int
    network: Autoencoder | None
    faults: tuple[str, ...] = ()


def lacks(device: Device) -> str | None:
    """Return a message if there is no such device."""
    missing = device == "cuda" and not torch.cuda.is_available()
    return "there is no CUDA device" if missing else None


def adam_steps(state: dict[str, Any]) -> int:
    """The steps that the state_dict of an Adam optimizer has counted."""
    return max((int(each["step"]) for each in state["state"].values()), default=0)
