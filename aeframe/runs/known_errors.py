"""Reconstruction errors of samples that the network was not fitted to, which set limits for outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 1001
"""Number of percentiles that are kept of more errors than that."""


@dataclass(frozen=True)
class KnownErrors:
    """Errors of known samples, from which follows how large an error is usual.

    split: `val`, or `train` for runs without validation and for older files. values: the sorted errors, or
    those at percentiles spread evenly from 0 to 100. count: number of samples; None: unknown, in older files.
    """

    split: str = "train"
    values: tuple[float, ...] = ()
    count: int | None = None

    @staticmethod
    def summarize(split: str, errors: NDArray[np.floating]) -> KnownErrors:
        """Keep all errors, [n]; their percentiles if there are many, or of samples of training."""
        values, is_train = np.sort(errors), split == "train"
        if is_train or len(values) > POINTS:
            values = np.percentile(values, np.linspace(0, 100, POINTS))
        kept = tuple(float(f"{value:.6g}") for value in values)
        return KnownErrors(split, kept, None if is_train else len(errors))

    def find_limit(self, percentile: float) -> float:
        """Return the limit that a new sample exceeds with a probability of at most 100 - percentile, in %.

        The bound holds for samples of the same kind: among n + 1 of them, the new one has each rank with the
        same probability (Vovk et al. 2005). Too few samples for the bound give their largest error.
        """
        steps = len(self.values) - 1
        if self.count is None:
            place = steps * percentile / 100
        else:
            rank = min(self.count, max(1, math.ceil((self.count + 1) * percentile / 100 - 1e-9)))
            place = steps * (rank - 1) / max(1, self.count - 1)
        return float(np.interp(place, np.arange(steps + 1), self.values))

    def find_percentiles(self, errors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the percentage of the known samples that each error exceeds."""
        return np.interp(errors, self.values, np.linspace(0, 100, len(self.values)))

    def find_least_share(self) -> float:
        """Return the smallest share of new samples above a limit that so few samples can promise."""
        return 0.0 if self.count is None else 1 / (self.count + 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON. Errors of training samples stand where they do in older files."""
        values = list(self.values)
        if self.split == "train":
            return {"train_scores": values}
        return {"train_scores": [], "val_scores": values, "val_samples": self.count}
