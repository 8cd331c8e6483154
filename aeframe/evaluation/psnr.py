"""Peak signal-to-noise ratio of errors in units of the stored values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from aeframe.data import Normalization


def compute_peak_shares(normalization: Normalization, peak: float, shape: Sequence[int]) -> Tensor:
    """Return factors that turn a squared error in normalized units into a share of the squared peak,
    float64.

    peak: the width of the range of stored values. One factor, or one for each element of a sample [*shape],
    flattened.
    """
    each = (normalization.scale.double() / peak).square()
    return each if each.ndim == 0 else each.expand(*shape).flatten()


def to_decibels(share: float) -> float:
    """Convert a mean squared error, as a share of the squared peak, to PSNR; infinite for no error."""
    return -10 * math.log10(share) if share > 0 else math.inf if share == 0 else math.nan
