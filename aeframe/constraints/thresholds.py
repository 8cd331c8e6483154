"""Thresholds from rates: a unit exceeds its threshold for a given share of the samples."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def find_rate_threshold(pre: Tensor, rate: float) -> Tensor:
    """Return the value that each unit's pre-activation [N, m] exceeds for the share `rate`, [m]."""
    active = min(len(pre) - 1, max(0, round(rate * len(pre))))
    return pre.sort(dim=0, descending=True).values[active].float()
