"""From stored values to the network's units and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.data.samples import Samples
from aeframe.errors import UserError

CHUNK = 2**22  # elements that are looked at at once: memory-mapped data is never loaded whole


class Normalization(nn.Module):
    """(x - shift) / scale in float32. The buffers are saved with the model, so that they travel."""

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift.float())
        self.register_buffer("scale", scale.float())

    def forward(self, raw: Tensor) -> Tensor:
        """Stored values of any dtype, [B, *shape], in normalised units."""
        return (raw.to(torch.float32) - self.shift) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Normalised values in the units of the stored ones."""
        return x * self.scale + self.shift


class Statistics:
    """Range, mean and variance of a split, in one pass and float64. Refuses NaN and infinity."""

    def __init__(self, samples: Samples) -> None:
        data, rows = samples.raw.data, samples.index
        shape = data.shape[1:]
        per = shape if len(shape) == 1 else shape[:1]  # features of vectors, channels of images
        self.low, self.high = float("inf"), float("-inf")
        total, squares = (
            torch.zeros(per, dtype=torch.float64),
            torch.zeros(per, dtype=torch.float64),
        )
        count = max(1, CHUNK // max(1, shape.numel()))
        offset: Tensor | None = None
        for start in range(0, len(rows), count):
            chunk = data.index_select(0, rows[start : start + count]).double()
            _refuse_non_finite(chunk, rows[start : start + count])
            self.low = min(self.low, float(chunk.min()))
            self.high = max(self.high, float(chunk.max()))
            by_feature = chunk if len(shape) == 1 else chunk.transpose(0, 1).flatten(1).t()
            if (
                offset is None
            ):  # sums about a typical value, or large means cancel the variance away
                offset = by_feature.mean(0)
            total += (by_feature - offset).sum(0)
            squares += (by_feature - offset).square().sum(0)
        n = len(rows) * shape.numel() // max(1, per.numel() if isinstance(per, torch.Size) else 1)
        assert offset is not None
        self.mean = offset + total / n
        self.variance = (squares / n - (total / n) ** 2).clamp(min=0)


def _refuse_non_finite(chunk: Tensor, rows: Tensor) -> None:
    finite = torch.isfinite(chunk.flatten(1)).all(1)
    if not bool(finite.all()):
        row = int(rows[int((~finite).nonzero()[0])])
        raise UserError(
            "dataset.path",
            f"sample {row} holds NaN or infinity",
            "Remove such samples or replace the values before training.",
        )


def fit(kind: str, samples: Samples) -> tuple[Normalization, float, float]:
    """The normalisation of a training split, and the range of its normalised values."""
    raw = samples.raw
    known = raw.low is not None and raw.high is not None
    if not raw.data.is_floating_point() and known and kind != "standard":
        low, high = float(raw.low or 0.0), float(raw.high or 0.0)  # nothing to look for in the data
    else:
        statistics = Statistics(samples)
        low = statistics.low if raw.low is None else float(raw.low)
        high = statistics.high if raw.high is None else float(raw.high)
    if kind == "none":
        return Normalization(torch.tensor(0.0), torch.tensor(1.0)), low, high
    if low == high:
        raise UserError(
            "dataset", f"every value of the training data is {low:g}", "There is nothing to learn."
        )
    if kind == "unit":
        return Normalization(torch.tensor(low), torch.tensor(high - low)), 0.0, 1.0
    deviation = statistics.variance.sqrt()
    scale = torch.where(deviation > 1e-8 * (high - low), deviation, torch.ones_like(deviation))
    images = raw.data.ndim == 4
    mean = statistics.mean[:, None, None] if images else statistics.mean
    scale = scale[:, None, None] if images else scale
    normalization = Normalization(mean, scale)
    bounds = (
        torch.tensor([low, high], dtype=torch.float64)[:, None] - mean.flatten()
    ) / scale.flatten()
    return normalization, float(bounds.min()), float(bounds.max())
