"""Precision of sums: at least float32, for layers of any precision."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Convert x to float32, or leave it in float64; autocast does not change such tensors.

    bfloat16 has 8 significant bits, which is too few for the sums and differences of a loss.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
