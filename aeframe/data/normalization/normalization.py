"""Normalization: from stored values to the units of the network and back."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Normalization(nn.Module):
    """Normalization by (x - shift) / scale, in float32, or in float64 for a model in double precision.

    neutral: the normalized values that stand in place of gaps (NaN), the means of the training split; None
    where a source knows no gaps. has_gaps: whether it may have some, as every table. The buffers are saved
    with the model.
    """

    shift: Tensor
    scale: Tensor
    neutral: Tensor | None
    is_affine: ClassVar[bool] = True
    """False if it is more than (x - shift) / scale."""

    def __init__(self, shift: Tensor, scale: Tensor, neutral: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("shift", shift.float())
        self.register_buffer("scale", scale.float())
        self.register_buffer("neutral", neutral)
        self.has_gaps = neutral is not None
        self._note_shift()
        self.register_load_state_dict_post_hook(Normalization._note_shift)

    def forward(self, raw: Tensor) -> Tensor:
        """Normalize stored values of any dtype, [B, *shape]."""
        x = raw.to(self.scale.dtype)
        if self.shifts:
            x = x - self.shift
        return x / self.scale if x is raw else x.div_(self.scale)

    def _note_shift(self, *_: object) -> None:
        """Remember whether the shift is not 0; for bytes it is 0, and no subtraction is needed."""
        self.shifts = self.shift.is_meta or bool(self.shift.any())  # meta: still unknown

    def inverse(self, x: Tensor) -> Tensor:
        """Convert normalized values to the units of the stored ones."""
        return x * self.scale + self.shift

    def find_present(self, x: Tensor) -> Tensor | None:
        """Return which normalized values are no gaps, bool, shaped like x; None if there are no gaps."""
        return x.isnan().logical_not() if self.has_gaps else None

    def fill(self, x: Tensor) -> Tensor:
        """Return normalized x with the neutral values in place of gaps."""
        if not self.has_gaps:
            return x
        assert self.neutral is not None
        return torch.where(x.isnan(), self.neutral, x)

    def take_means(self, mean: Tensor) -> None:
        """Take the means of the stored values as neutral values."""
        self.neutral = self(mean)

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Check whether it can be applied to samples of this shape: [D] or [C, H, W]."""
        return all(v.ndim == 0 or len(v) == shape[0] for v in self.buffers())
