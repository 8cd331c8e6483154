"""The data of the benchmarks, read once, and a folder for their files."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.networks import IMAGE, PIXELS, Autoencoder

HELD_OUT = 6_000  # of MNIST's 60,000, as many as aeframe holds out by default


@dataclass(frozen=True)
class Digits:
    """MNIST, uint8 [N, 784] each; mean: of the training split in [0, 1], float [784]."""

    train: Tensor
    val: Tensor
    test: Tensor
    mean: Tensor

    @torch.no_grad()
    def mse(self, network: Autoencoder) -> float:
        """Squared error per pixel on the test split, the same images for every arm."""
        network.eval()
        total = 0.0
        for rows in self.test.split(1_000):
            x = scaled(rows).view(-1, *network.shape)
            total += float((network(x) - x).square().sum())
        return total / self.test.numel()


def scaled(rows: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]."""
    return rows.float().div_(255)


class Workspace:
    """Folders of MNIST and of temporary files.

    data: in torchvision's layout, packed or not. folder: the caller makes and deletes it.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data.resolve(), folder

    def lacks_mnist(self) -> str | None:
        """Return a message if MNIST does not exist."""
        there = any((self.data / "MNIST" / "raw").glob("train-images-idx3-ubyte*"))
        return None if there else f"no MNIST under {self.data}: give --data FOLDER"

    def _whole(self, name: str, write: Callable[[Path], object]) -> Path:
        """Return this file, written once for all arms: their processes see all of it or nothing."""
        made = self.folder / name
        if not made.exists():
            beside = Path(tempfile.mkdtemp(prefix="unfinished_", dir=self.folder))
            write(beside / name)
            (beside / name).rename(made)
            beside.rmdir()
        return made

    @cached_property
    def unpacked(self) -> Path:
        """Unpack MNIST for torchvision, which does not read packed files."""
        return self._whole("mnist", self._unpack)

    def _unpack(self, folder: Path) -> None:
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file in sorted((self.data / "MNIST" / "raw").glob("*-ubyte*")):
            packed, content = file.suffix == ".gz", file.read_bytes()
            (raw / file.name.removesuffix(".gz")).write_bytes(
                gzip.decompress(content) if packed else content
            )

    @cached_property
    def codec(self) -> Path:
        """A run whose codes are rounded: the network of experiment=compress_mnist, hardly trained."""
        return self._whole("codec", self._train)

    def _train(self, folder: Path) -> None:
        words = ("experiment=compress_mnist", f"dataset.root={self.unpacked}")
        short = ("trainer.max_epochs=1", "trainer.limit_train_batches=40", "evaluation.images=32")
        command = [sys.executable, "train.py", *words, *short, f"hydra.run.dir={folder}"]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)

    @cached_property
    def digits(self) -> Digits:
        """MNIST in memory, read by torchvision and split by a fixed seed."""
        from torchvision.datasets import MNIST

        images = MNIST(self.unpacked, train=True).data.reshape(-1, PIXELS)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        train, val = images[order[HELD_OUT:]], images[order[:HELD_OUT]]
        test = MNIST(self.unpacked, train=False).data.reshape(-1, PIXELS)
        return Digits(train, val, test, scaled(train).mean(0))

    def array(self, images: int) -> Path:
        """Write a .npy file of random images, uint8 [images, 1, 28, 28]."""

        def write(file: Path) -> None:
            out = _mapped(file, (images, *IMAGE))
            block = np.random.default_rng(0).integers(0, 256, (10_000, *IMAGE), np.uint8)
            for start in range(0, images, len(block)):
                out[start : start + len(block)] = block[: images - start]

        return self._whole(f"random_{images}.npy", write)

    def hole(self, gigabytes: int) -> Path:
        """A .npy file of zeros, uint8 [N, 784], that takes no room on most file systems."""
        images = gigabytes * 10**9 // PIXELS
        return self._whole(f"zeros_{gigabytes}.npy", lambda file: _mapped(file, (images, PIXELS)))

    def run_folder(self) -> Path:
        """A new folder for one run; the arm that wrote it lets it be deleted."""
        return Path(tempfile.mkdtemp(prefix="run_", dir=self.folder))


def _mapped(file: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(file, "w+", np.uint8, shape)
