"""Thresholds from rates: how often a unit is active, as a value that its input has to exceed."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def rate_threshold(pre: Tensor, rate: float) -> Tensor:
    """For each unit the value that its pre-activation [N, m] exceeds for the share `rate`, [m]."""
    active = min(len(pre) - 1, max(0, round(rate * len(pre))))
    return pre.sort(dim=0, descending=True).values[active].float()
