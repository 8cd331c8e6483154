"""Residual layers: layers beside the identity."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Sequential):
    """The layers of x + layers(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)
