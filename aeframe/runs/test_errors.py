"""Errors of the test samples, one by one: they tell which differences between runs are real."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.files import write_atomically
from aeframe.core.regular_files import open_regular
from aeframe.data import DataModule
from aeframe.data.source import Share
from aeframe.runs.known_samples import SCORED, measure_samples

FILE = "test_errors.safetensors"
LARGEST = 2**20  # bytes; the errors of 10,000 samples take 80,000
RESAMPLED = 2000  # bootstrap samples
TOGETHER = 100  # samples, and bootstrap samples, that are in memory at once


@dataclass(frozen=True)
class Interval:
    """A difference of two means, and its 95 % interval by a paired bootstrap."""

    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Check whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {**vars(self), "is_clear": self.is_clear}


@dataclass(frozen=True)
class TestErrors:
    """Mean squared errors of test samples, float32 [N], and the numbers of these rows in the source, int64.

    At most 10,000 samples, spread evenly over the split. sums: checksums of the samples as stored, uint32.
    """

    __test__ = False  # no test case, whatever pytest thinks of the name

    errors: NDArray[np.float32]
    rows: NDArray[np.int64]
    sums: NDArray[np.uint32]

    @staticmethod
    def measure(net: ConstrainedAutoencoder, data: DataModule) -> TestErrors:
        """Measure them with a trained network, in normalized units."""
        errors, _ = measure_samples(net, data, "test")
        samples, sums = data.splits["test"], list[int]()
        chosen = samples.spread_evenly(SCORED)
        for part in chosen.split(TOGETHER):  # samples may be large
            x = samples[Share(part, len(part))].x.flatten(1).contiguous()
            sums += [zlib.crc32(row.view(torch.uint8).numpy().data) for row in x]
        samples.raw.release()
        rows = samples.find_rows(chosen).long().numpy()
        return TestErrors(errors.float().cpu().numpy(), rows, np.array(sums, np.uint32))

    @property
    def standard_error(self) -> float:
        """The standard error of their mean."""
        return float(self.errors.std(dtype=np.float64) / len(self.errors) ** 0.5)

    def is_of_same_samples(self, other: TestErrors) -> bool:
        """Check whether the other run was tested on the same samples in the same order."""
        return np.array_equal(self.rows, other.rows) and np.array_equal(self.sums, other.sums)

    def compare(self, other: TestErrors) -> Interval:
        """Compare the mean error with that of another run on the same samples: ours less theirs.

        Both errors of a sample are drawn together (Efron & Tibshirani 1993), so that samples which are hard
        for both do not blur the difference.
        """
        differences = self.errors.astype(np.float64) - other.errors
        rng, n = np.random.default_rng(0), len(differences)
        means = np.concatenate(
            [
                differences[rng.integers(0, n, (TOGETHER, n))].mean(1)
                for _ in range(RESAMPLED // TOGETHER)
            ]
        )
        low, high = np.percentile(means, (2.5, 97.5))
        return Interval(float(differences.mean()), float(low), float(high))

    def save(self, folder: Path) -> None:
        """Write them into a run's folder."""
        with write_atomically(folder / FILE) as file:
            file.write(safetensors.numpy.save(vars(self)))


def read_test_errors(folder: Path) -> TestErrors | None:
    """Read the errors from a run's folder without trust; None without a file, or with a broken one."""
    try:
        with open_regular(folder / FILE) as file:
            found = safetensors.numpy.load(file.read(LARGEST + 1))
    except (OSError, safetensors.SafetensorError):
        return None
    kinds = {"errors": np.float32, "rows": np.int64, "sums": np.uint32}
    fits = found.keys() == kinds.keys() and all(
        found[name].dtype == kind and found[name].ndim == 1 for name, kind in kinds.items()
    )
    if not fits or len({len(part) for part in found.values()} | {0}) != 2:
        return None
    return TestErrors(**found) if np.isfinite(found["errors"]).all() else None
