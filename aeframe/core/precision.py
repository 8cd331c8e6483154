"""Numbers that are added up: in float32 or wider, whatever the layers computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 where it is that; autocast leaves such tensors alone.

    Sums and differences of bfloat16 numbers, which have 8 bits, lose what a loss is about.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
