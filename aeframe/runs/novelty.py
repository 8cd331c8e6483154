"""Novelty of a table's rows: unusual reconstruction errors and unusual distances from the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data.gaps import average_present
from aeframe.data.table_schema import Schema
from aeframe.runs.frames import share_columns

NARROWEST = 1e-3
"""Least standard deviation of a cube root beside its mean, as of a sum of 200,000 squares. Where known rows
are all alike, rounding would otherwise make outliers.
"""
SMALLEST = 1e-6
"""Least standard deviation of a cube root: that of errors of 0."""


class Compared(NamedTuple):
    """Samples beside what the network makes of them.

    squares: squared errors, [B, *shape]. present: which elements are no gaps (None: all). restored: the
    output. far: the squared distances of the elements from the means of training, for tables.
    """

    squares: Tensor
    present: Tensor | None
    restored: Tensor
    far: Tensor | None = None

    @staticmethod
    def of(net: ConstrainedAutoencoder, x: Tensor, goal: Tensor, *, far: bool) -> Compared:
        """Compare the output for normalized samples with their normalized targets."""
        restored, means = net.reconstruct(x), net.normalization.neutral
        present = net.written_normalization.find_present(goal)
        if not far or means is None:
            return Compared((restored - goal).square(), present, restored)
        # in float64, as the squares of huge cells are beyond float32
        squares, distances = ((x.double() - y).square() for y in (restored, means))
        return Compared(squares, present, restored, distances)

    @property
    def errors(self) -> Tensor:
        """Return the mean squared error of each sample, [B]."""
        return average_present(self.squares, self.present)

    @property
    def distances(self) -> Tensor:
        """Return the mean squared distance of each sample from the mean of training, [B]."""
        assert self.far is not None
        return average_present(self.far, self.present)


@dataclass(frozen=True)
class Novelty:
    """Score that joins the error of a sample and its distance from the mean of training.

    An autoencoder also reconstructs a sample that lies far out in the directions that it knows. Its error
    alone misses such a sample. Denouden et al. (2018) therefore add a distance of the code. Here the cube
    roots of the error and of the squared distance, each in standard deviations from its mean, are averaged: 0
    is usual, 3 is rare. The cube root of a sum of squares is nearly normal (Wilson and Hilferty 1931).
    error, distance: mean and standard deviation of the cube root over validation samples.
    """

    error: tuple[float, float]
    distance: tuple[float, float]

    @staticmethod
    def fit(errors: Tensor, distances: Tensor) -> Novelty:
        """Fit it to the errors and distances of known samples, [N]."""
        roots = (each.double().pow(1 / 3) for each in (errors, distances))
        found = ((float(root.mean()), float(root.std(correction=0))) for root in roots)
        return Novelty(*((mean, max(spread, NARROWEST * mean, SMALLEST)) for mean, spread in found))

    def measure(self, errors: Tensor, distances: Tensor) -> Tensor:
        """Return the novelty of samples with these errors and distances, [B]."""
        error, distance = self._standardize(errors, distances)
        return (error + distance) / 2

    def weigh_error(self, compared: Compared) -> Tensor:
        """Return the weight of the error beside that of the distance, [B], by their excess over the usual."""
        both = self._standardize(compared.errors, compared.distances)
        error, distance = (each.clamp(min=1e-3) for each in both)
        return error / (error + distance)

    def _standardize(self, errors: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cube roots in standard deviations from their means."""
        (mean, deviation), (middle, spread) = self.error, self.distance
        return (errors.pow(1 / 3) - mean) / deviation, (distances.pow(1 / 3) - middle) / spread

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {"error": list(self.error), "distance": list(self.distance)}


def rate(compared: Compared, novelty: Novelty | None) -> Tensor:
    """Return the score of each sample, [B]: the novelty, or without one the error."""
    if novelty is None:
        return compared.errors
    return novelty.measure(compared.errors, compared.distances).float()


def share(compared: Compared, novelty: Novelty | None, schema: Schema) -> Tensor:
    """Return the share of each column in the score of a row, [B, columns]. They add up to 1; all are 0 in a
    row without a cell.
    """
    by_error, by_distance = split_shares(compared, novelty, schema)
    return by_error + by_distance


def split_shares(
    compared: Compared, novelty: Novelty | None, schema: Schema
) -> tuple[Tensor, Tensor]:
    """Return the shares of each column in a row's score by its error and by its distance, [B, columns]."""
    by_error = share_columns(compared.squares, compared.present, schema)
    if novelty is None or compared.far is None:
        return by_error, torch.zeros_like(by_error)
    by_distance = share_columns(compared.far, compared.present, schema)
    weight = novelty.weigh_error(compared)[:, None]
    return (weight * by_error).float(), ((1 - weight) * by_distance).float()
