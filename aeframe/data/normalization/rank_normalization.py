"""Rank normalization: each feature becomes Gaussian by its quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from aeframe.data.normalization.normalization import Normalization
from aeframe.data.source import Samples, Share

QUANTILES = 257
ELEMENTS = 2**23  # of the samples whose quantiles are taken, spread evenly over the training split


class RankNormalization(Normalization):
    """Normalization to Gaussian quantiles: piecewise linear, increasing and invertible.

    knots: quantiles of the training split in units of the standard deviation, [D, Q]. levels: the normalized
    values there; outside, the slope is 1. ranked: the features [D] that are mapped; others are only shifted
    and scaled.
    """

    knots: Tensor
    levels: Tensor
    ranked: Tensor
    is_affine = False

    def __init__(
        self,
        shift: Tensor,
        scale: Tensor,
        neutral: Tensor | None,
        knots: Tensor,
        levels: Tensor,
        ranked: Tensor,
    ) -> None:
        super().__init__(shift, scale, neutral)
        self.register_buffer("knots", knots.float())
        self.register_buffer("levels", levels.float())
        self.register_buffer("ranked", ranked)

    def take_means(self, mean: Tensor) -> None:
        super().take_means(mean)
        assert self.neutral is not None
        self.neutral = self.neutral.where(~self.ranked, 0)  # the middle of the ranks

    def forward(self, raw: Tensor) -> Tensor:
        scaled = super().forward(raw)
        return torch.where(self.ranked, interpolate(scaled, self.knots, self.levels), scaled)

    def inverse(self, x: Tensor) -> Tensor:
        return super().inverse(torch.where(self.ranked, interpolate(x, self.levels, self.knots), x))


def interpolate(x: Tensor, knots: Tensor, levels: Tensor) -> Tensor:
    """Map each feature of x [..., D] from its knots to its levels, [D, Q], with slope 1 beyond the ends."""
    columns = x.reshape(-1, x.shape[-1]).t().contiguous()
    if torch.compiler.is_exporting():  # ONNX has no search
        after = (columns[:, :, None] > knots[:, None]).sum(2)
    else:
        after = torch.searchsorted(knots, columns)
    after = after.clamp(1, knots.shape[1] - 1)
    x0, x1 = knots.gather(1, after - 1), knots.gather(1, after)
    y0, y1 = levels.gather(1, after - 1), levels.gather(1, after)
    width = torch.where(x1 > x0, x1 - x0, 1)
    rounded = y0 + (columns - x0) / width * (y1 - y0)
    found = torch.minimum(rounded, y1)  # rounding must not lead above the next level
    below, above = columns - knots[:, :1], columns - knots[:, -1:]
    found = torch.where(below < 0, levels[:, :1] + below, found)
    found = torch.where(above > 0, levels[:, -1:] + above, found)
    return found.t().reshape(x.shape)


def fit_ranks(normalization: Normalization, train: Samples, ranked: Tensor) -> RankNormalization:
    """Fit the quantiles of a training split to a normalization to mean 0 and variance 1. ranked: bool [D]."""
    rows = train.spread_evenly(max(2, ELEMENTS // len(ranked)))
    x = normalization(train[Share(rows, len(rows))].x).double().numpy()
    train.raw.release()
    identity = np.linspace(-1, 1, QUANTILES)
    knots, levels = (np.tile(identity, (len(ranked), 1)) for _ in range(2))
    for feature in ranked.nonzero().flatten().tolist():
        values = x[:, feature]
        knots[feature], levels[feature] = find_quantiles(values[~np.isnan(values)])
    return RankNormalization(
        normalization.shift,
        normalization.scale,
        normalization.neutral,
        torch.from_numpy(knots),
        torch.from_numpy(levels),
        ranked,
    )


def find_quantiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find increasing knots [Q] among values [n], and the levels of a standard normal distribution there.

    Equal quantiles become one knot, at the middle of their ranks. Spare places repeat the last one.
    """
    if len(values) == 0:
        values = np.zeros(1)
    shares = np.linspace(0, 1, QUANTILES)
    least = 0.5 / max(len(values), QUANTILES)
    knots = np.quantile(values, shares).astype(np.float32)
    unique, place = np.unique(knots, return_inverse=True)
    middle = np.bincount(place, shares) / np.bincount(place)
    inside = torch.from_numpy(middle).clamp(least, 1 - least)
    levels = torch.erfinv(2 * inside - 1).mul(math.sqrt(2)).float().numpy()
    missing = (0, QUANTILES - len(unique))
    return np.pad(unique, missing, "edge"), np.pad(levels, missing, "edge")


def build_blank(normalization: Normalization, features: int) -> RankNormalization:
    """Build a normalization of the right shapes, whose values are loaded later."""
    each = torch.zeros(features, QUANTILES)
    ranked = torch.zeros(features, dtype=torch.bool)
    return RankNormalization(
        normalization.shift, normalization.scale, normalization.neutral, each, each.clone(), ranked
    )


def build_saved(buffers: Mapping[str, Tensor]) -> Normalization | None:
    """Build a normalization of any kind from its saved buffers, by name; None if some are missing."""
    if not {"shift", "scale"} <= set(buffers):
        return None
    made = Normalization(buffers["shift"], buffers["scale"], buffers.get("neutral"))
    ranks = [buffers[name] for name in ("knots", "levels", "ranked") if name in buffers]
    return (
        RankNormalization(made.shift, made.scale, made.neutral, *ranks) if len(ranks) == 3 else made
    )
