"""MNIST's files, made small."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def write_idx(folder: Path, n: int = 20, compressed: bool = True) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", n), ("t10k", 5)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = generator.integers(0, 10, count, np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(int(s).to_bytes(4, "big") for s in values.shape)
            raw = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            file = folder / f"{part}-{name}-ubyte{'.gz' if compressed else ''}"
            file.write_bytes(gzip.compress(raw) if compressed else raw)
