"""From stored values to the network's units and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from aeframe.data.samples import Samples
from aeframe.errors import UserError

CHUNK = 2**22  # elements that are looked at at once: memory-mapped data is never loaded whole

Kind = Literal["unit", "standard", "none"]


class Normalization(nn.Module):
    """(x - shift) / scale in float32, or in double precision where the model is.

    The buffers are saved with the model, so that they travel.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift.float())
        self.register_buffer("scale", scale.float())

    def forward(self, raw: Tensor) -> Tensor:
        """Stored values of any dtype, [B, *shape], in normalised units."""
        return (raw.to(self.scale.dtype) - self.shift) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Normalised values in the units of the stored ones."""
        return x * self.scale + self.shift


class Statistics:
    """Minimum, maximum, mean and variance of each feature (of vectors) or channel (of images), and the
    extent of all values, held-out ones as well.

    Of a training split, in float64, in one pass that also refuses NaN and infinity anywhere in the
    source's training data, held out or not.
    """

    def __init__(self, train: Samples) -> None:
        data = train.raw.data
        used = torch.zeros(len(data), dtype=torch.bool)
        used[train.index] = True
        n, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
        offset = low = high = None
        self.extent = (math.inf, -math.inf)
        for start, chunk in _chunks(data):
            refuse_non_finite(chunk, start, train.raw.origin)
            self.extent = widened(self.extent, chunk)
            rows = chunk[used[start : start + len(chunk)]]
            if not len(rows):
                continue
            values = rows.transpose(0, 1).flatten(1).double()  # [features, ...]
            if offset is None or low is None or high is None:
                # sums about a typical value, or a large mean would cancel the variance away
                offset, low, high = values.mean(1), values.amin(1), values.amax(1)
            low, high = torch.minimum(low, values.amin(1)), torch.maximum(high, values.amax(1))
            centred = values - offset[:, None]
            n += values.shape[1]
            total, squares = total + centred.sum(1), squares + centred.square().sum(1)
        assert offset is not None
        assert low is not None
        assert high is not None
        self.low, self.high = low, high
        self.mean = offset + total / n
        self.variance = (squares / n - (total / n).square()).clamp(min=0)


def _chunks(data: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The samples in their order, some at a time, each with the row that it starts at."""
    rows = max(1, CHUNK // data[0].numel())
    for start in range(0, len(data), rows):
        yield start, data[start : start + rows]


def widened(extent: tuple[float, float], chunk: Tensor) -> tuple[float, float]:
    """The extent with a chunk's values."""
    low, high = chunk.double().aminmax()  # torch compares no wide unsigned integers
    return min(extent[0], float(low)), max(extent[1], float(high))


def refuse_non_finite(chunk: Tensor, start: int, where: str) -> None:
    """Raise UserError that names the first row (counted from `start`) with NaN or infinity."""
    if not chunk.is_floating_point():
        return
    finite = torch.isfinite(chunk.float()).flatten(1).all(1)
    if not bool(finite.all()):
        row = start + int(finite.logical_not().nonzero()[0])
        remedy = "Remove such samples or replace the values before training."
        raise UserError(
            where, f"sample {row} (from 0) holds NaN, infinity or more than float32 can", remedy
        )


class Fitted(NamedTuple):
    """A normalisation, the range of the training split's values after it, and that of all values."""

    normalization: Normalization
    low: float
    high: float
    extent: tuple[float, float]


def fit(kind: Kind, train: Samples) -> Fitted:
    """The normalisation of a training split.

    Raises UserError for values that are not finite, and for data without any variation.
    """
    raw, extent = train.raw, (math.inf, -math.inf)
    if raw.test is not None:
        for start, chunk in _chunks(raw.test.data):
            refuse_non_finite(chunk, start, raw.test.origin)
            extent = widened(extent, chunk)
    if raw.low is not None and raw.high is not None and kind != "standard":
        low, high = raw.low, raw.high  # nothing to look for in the data
        extent = (low, high)
    else:
        seen = Statistics(train)
        low, high = float(seen.low.min()), float(seen.high.max())
        extent = min(extent[0], seen.extent[0]), max(extent[1], seen.extent[1])
    if kind == "none":
        return Fitted(Normalization(torch.tensor(0.0), torch.tensor(1.0)), low, high, extent)
    if low == high:
        what = f"every value of the training data is {low:g}"
        raise UserError("dataset", what, "Give data that varies: there is nothing to learn in it.")
    if kind == "unit":
        scaled = ((extent[0] - low) / (high - low), (extent[1] - low) / (high - low))
        return Fitted(Normalization(torch.tensor(low), torch.tensor(high - low)), 0.0, 1.0, scaled)
    return _standard(seen, images=raw.data.ndim == 4)


def _standard(seen: Statistics, *, images: bool) -> Fitted:
    deviation = seen.variance.sqrt()
    scale = torch.where(seen.low < seen.high, deviation, torch.ones_like(deviation))
    low, high = (seen.low - seen.mean) / scale, (seen.high - seen.mean) / scale
    shape = (-1, 1, 1) if images else (-1,)
    normalization = Normalization(seen.mean.view(shape), scale.view(shape))
    return Fitted(normalization, float(low.min()), float(high.max()), (-math.inf, math.inf))
