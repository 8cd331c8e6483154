"""Statistics of a training split."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aeframe.data.finite import measure_extent
from aeframe.data.source import Raw, Samples


class Statistics:
    """Minimum, maximum, mean and variance of each feature or channel of a training split.

    extent: the range of all values, also of held-out ones.

    Computed in float64 in one pass, which also refuses NaN and infinity in all data of the source; of a split
    that is streamed, from some of its blocks, which are spread evenly. Gaps are
    left out, where the source may have some; a feature without a value counts as constant 0.
    """

    def __init__(self, train: Samples) -> None:
        raw = train.raw
        n: Tensor | int = 0
        total, squares = torch.tensor(0.0), torch.tensor(0.0)
        offset = low = high = None
        self.extent = (math.inf, -math.inf)
        for chunk, rows in train.read_measured():
            self.extent = widen_extent(self.extent, chunk, raw)
            if not len(rows):
                continue
            values = rows.double().flatten(2) if rows.ndim > 2 else rows.double()
            samples = (0, 2)[: values.ndim - 1]  # the axes of a feature's or a channel's values
            gaps = values.isnan() if raw.gaps else None
            if offset is None or low is None or high is None:
                # sums about a typical value: a large mean would cancel the variance
                offset = _find_typical(values, samples, gaps)
                low, high = _find_ends(values, samples, gaps)
            first, last = _find_ends(values, samples, gaps)
            low, high = torch.minimum(low, first), torch.maximum(high, last)
            count = values.numel() // values.shape[1]
            n += count if gaps is None else count - gaps.sum(samples)
            values -= offset
            if gaps is not None:
                values[gaps] = 0
            total, squares = total + values.sum(samples), squares + values.square_().sum(samples)
        assert offset is not None
        assert low is not None
        assert high is not None
        if isinstance(n, Tensor):
            known = n > 0
            low, high, n = low.where(known, 0), high.where(known, 0), n.clamp(min=1)
        self.low, self.high = low, high
        self.mean = offset.flatten() + total / n
        self.variance = (squares / n - (total / n).square()).clamp(min=0)


def _find_typical(values: Tensor, samples: tuple[int, ...], gaps: Tensor | None) -> Tensor:
    """Return the mean of each feature, of the shape that broadcasts."""
    if gaps is None:
        return values.mean(samples, keepdim=True)
    return values.nanmean(samples, keepdim=True).nan_to_num(nan=0.0)


def _find_ends(
    values: Tensor, samples: tuple[int, ...], gaps: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest value of each feature; infinite where all are gaps."""
    if gaps is None:
        return values.amin(samples), values.amax(samples)
    low, high = values.masked_fill(gaps, math.inf), values.masked_fill(gaps, -math.inf)
    return low.amin(samples), high.amax(samples)


def widen_extent(extent: tuple[float, float], chunk: Tensor, raw: Raw) -> tuple[float, float]:
    """Extend a range by the values of a chunk of `raw`. Raises UserError for NaN and infinity."""
    low, high = measure_extent(chunk, raw)
    return min(extent[0], low), max(extent[1], high)
