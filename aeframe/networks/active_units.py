"""Linear layers that compute with the active units of a code only, and skip its zeros.

The results and gradients are those of the whole matrices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812


class Active(NamedTuple):
    """The code values that are not zero: units [B, k], all different, and their values [B, k]."""

    units: Tensor
    values: Tensor

    def spread(self, like: Tensor) -> Tensor:
        """Return the whole code with its zeros, [B, m] as `like`."""
        return torch.zeros_like(like, dtype=self.values.dtype).scatter(1, self.units, self.values)

    def find_above(self, floor: float, like: Tensor) -> Tensor:
        """Return the units beyond the floor, bool [B, m]."""
        off = torch.zeros_like(like, dtype=torch.bool)
        return off.scatter(1, self.units, self.values.abs() > floor)


def read_active(layer: nn.Linear, active: Active) -> Tensor:
    """Apply a layer to a code, [B, out], with the columns of its active units alone."""
    table = layer.weight.t()
    values = active.values.to(table.dtype)
    total = F.embedding_bag(active.units, table, mode="sum", per_sample_weights=values)
    return total if layer.bias is None else total + layer.bias


def write_active(layer: nn.Linear, features: Tensor, output: Tensor, units: Tensor) -> Tensor:
    """Return a layer's output at these units, [B, k], with the gradients that come from them alone.

    features: the layer's input [B, in]. output: its output, [B, m]. Differentiable once.
    """
    return _Written.apply(features, layer.weight, layer.bias, output.detach(), units)


class _Written(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, output: Tensor, units: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, weight, units)
        return output.gather(1, units).to(weight.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        features, weight, units = ctx.saved_tensors
        to_features = None
        if ctx.needs_input_grad[0]:
            bag = F.embedding_bag(units, weight, mode="sum", per_sample_weights=grad)
            to_features = bag.to(features.dtype)
        flat, shares = units.flatten(), grad.flatten()
        # the units one after the other, each with the samples that it was active for
        order = flat.argsort(stable=True)
        samples = order.div(units.shape[1], rounding_mode="floor")
        starts = torch.searchsorted(flat[order], torch.arange(len(weight), device=flat.device))
        to_weight = F.embedding_bag(
            samples,
            features.to(weight.dtype),
            starts,
            mode="sum",
            per_sample_weights=shares[order],
        )
        to_bias = F.embedding_bag(order, shares[:, None], starts, mode="sum")[:, 0]
        return to_features, to_weight, to_bias, None, None
