"""From stored values to the network's units and back."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from aeframe.data.finite import extent_of
from aeframe.data.samples import Raw, Samples
from aeframe.errors import UserError

Kind = Literal["unit", "standard", "none"]

TINY, MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


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
        self._note_shift()
        self.register_load_state_dict_post_hook(Normalization._note_shift)

    def forward(self, raw: Tensor) -> Tensor:
        """Stored values of any dtype, [B, *shape], in normalised units."""
        x = raw.to(self.scale.dtype)
        if self.shifts:
            x = x - self.shift
        return x / self.scale if x is raw else x.div_(self.scale)

    def _note_shift(self, *_: object) -> None:
        """Whether there is anything to subtract, which for bytes there is not."""
        self.shifts = self.shift.is_meta or bool(self.shift.any())  # meta: not known yet

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
        raw = train.raw
        used = torch.zeros(len(raw.data), dtype=torch.bool)
        used[train.index] = True
        n, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
        offset = low = high = None
        self.extent = (math.inf, -math.inf)
        for start, chunk in raw.chunks():
            self.extent = widened(self.extent, chunk, raw)
            rows = chunk[used[start : start + len(chunk)]]
            if not len(rows):
                continue
            values = rows.double().flatten(2) if rows.ndim > 2 else rows.double()
            samples = (0, 2)[: values.ndim - 1]  # the axes of a feature's or a channel's values
            if offset is None or low is None or high is None:
                # sums about a typical value, or a large mean would cancel the variance away
                offset = values.mean(samples, keepdim=True)
                low, high = values.amin(samples), values.amax(samples)
            low = torch.minimum(low, values.amin(samples))
            high = torch.maximum(high, values.amax(samples))
            n += values.numel() // values.shape[1]
            values -= offset
            total, squares = total + values.sum(samples), squares + values.square_().sum(samples)
        assert offset is not None
        assert low is not None
        assert high is not None
        self.low, self.high = low, high
        self.mean = offset.flatten() + total / n
        self.variance = (squares / n - (total / n).square()).clamp(min=0)


def widened(extent: tuple[float, float], chunk: Tensor, raw: Raw) -> tuple[float, float]:
    """The extent with the values of a chunk of `raw`. Raises UserError for NaN and infinity."""
    low, high = extent_of(chunk, raw)
    return min(extent[0], low), max(extent[1], high)


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
    known = None if raw.low is None or raw.high is None else (raw.low, raw.high)
    known = None if kind == "standard" else known
    if raw.test is not None and (known is None or raw.test.data.is_floating_point()):
        for _, chunk in raw.test.chunks():
            extent = widened(extent, chunk, raw.test)
    if known is not None:
        low, high = extent = known  # nothing to look for in the data
    else:
        seen = Statistics(train)
        low, high = float(seen.low.min()), float(seen.high.max())
        extent = min(extent[0], seen.extent[0]), max(extent[1], seen.extent[1])
    if not bool(_varies(torch.tensor(low), torch.tensor(high))):
        what = f"every value of the training data is {low:g} in float32"
        raise UserError("dataset", what, "Give data that varies: there is nothing to learn in it.")
    if kind == "none":
        return Fitted(Normalization(torch.tensor(0.0), torch.tensor(1.0)), low, high, extent)
    scaled = ((extent[0] - low) / (high - low), (extent[1] - low) / (high - low))
    if high - low > MOST or max(map(abs, scaled)) > MOST:
        what = f"the training data goes from {low:g} to {high:g}, all data to {extent[1]:g}"
        remedy = "Divide it by a constant before training: float32 does not reach so far."
        raise UserError(raw.origin, what, remedy)
    if kind == "unit":
        return Fitted(Normalization(torch.tensor(low), torch.tensor(high - low)), 0.0, 1.0, scaled)
    return _standard(seen, images=raw.data.ndim == 4)


def _varies(low: Tensor, high: Tensor) -> Tensor:
    """Where float32 tells the lowest value from the highest, even with its smallest ones taken for 0."""
    return high.float().double() - low.float().double() >= TINY


def _standard(seen: Statistics, *, images: bool) -> Fitted:
    deviation, varies = seen.variance.sqrt(), _varies(seen.low, seen.high)
    if not bool(varies.any()):
        what = f"every {'channel' if images else 'feature'} of the training data is constant"
        raise UserError("dataset", what, "Give data that varies: there is nothing to learn in it.")
    scale = torch.where(varies, deviation.clamp(min=TINY), torch.ones_like(deviation))
    low, high = (seen.low - seen.mean) / scale, (seen.high - seen.mean) / scale
    shape = (-1, 1, 1) if images else (-1,)
    normalization = Normalization(seen.mean.view(shape), scale.view(shape))
    return Fitted(normalization, float(low.min()), float(high.max()), (-math.inf, math.inf))
