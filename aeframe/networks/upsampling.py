"""Transposed convolutions that double a sample's size, with a faster way for images on CPUs.

Measured on one core of an AMD EPYC (Zen 4) with torch 2.14.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Size = tuple[int, int]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]

FEW = 3  # channels of an output for which all taps are one product
TAPS = 2**18  # elements of such a product for each thread: they stay in the cache
COLUMNS = 2**22  # elements that the backward pass gathers at once
SUMS = ((0, 1, 0), (1, 2, 0), (1, 0, 1))
"""(a, tap, b): this tap adds line i + b of the input to line 2 i + a of the output."""


class Doubling(nn.ConvTranspose2d):
    """A 3 x 3 transposed convolution with stride 2, [B, C, H, W] -> [B, to, 2 H - 1 + m, 2 W - 1 + m'].

    missing: m and m', 0 or 1. It has the parameters of torch's layer. On a CPU, unless it is compiled or
    exported, three cases are computed in another way. Few output channels: one matrix product, whose taps
    are added to the output, takes a sixth of torch's time (in float32 also under autocast, because
    bfloat16 would gain nothing). An odd size: torch's output of the next even size is cut, which is up to
    twice as fast in float32 and ten times in bfloat16. Gradients in bfloat16: two matrix products take
    half of torch's time.
    """

    def __init__(self, channels: int, to: int, missing: Size) -> None:
        super().__init__(channels, to, 3, stride=2, padding=1, output_padding=missing)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # the size is output_padding's
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        weight, bias = self.weight, self.bias
        assert bias is not None
        mixed, thin = torch.is_autocast_enabled("cpu"), self.out_channels <= FEW
        if mixed and x.dtype != torch.float64:
            dtype = torch.float32 if thin else torch.get_autocast_dtype("cpu")
            x, weight, bias = (tensor.to(dtype) for tensor in (x, weight, bias))
        if not (thin or 0 in self.output_padding or x.dtype == torch.bfloat16):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return _Doubled.apply(x, weight, bias, self.output_padding)


def build_doubling(channels: int, to: int, missing: tuple[int, ...]) -> nn.Module:
    """Build a transposed convolution with stride 2, [B, C, *sides] -> [B, to, *(2 * sides - 1 + missing)].

    missing: 0 or 1 for each of the one to three sides.
    """
    if len(missing) == 2:
        return Doubling(channels, to, (missing[0], missing[1]))
    layer = {1: nn.ConvTranspose1d, 3: nn.ConvTranspose3d}[len(missing)]
    return layer(channels, to, 3, stride=2, padding=1, output_padding=missing)  # type: ignore[arg-type]


class _Doubled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, missing: Size) -> Tensor:
        height, width = (2 * side - 1 + m for side, m in zip(x.shape[2:], missing, strict=True))
        if weight.shape[1] <= FEW:
            return _by_taps(x, weight, bias, (height, width))
        whole = F.conv_transpose2d(x, weight, bias, 2, 1, 1)
        return whole[..., :height, :width]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.missing = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if weight.dtype == torch.bfloat16:
            return *_by_columns(grad, x, weight, wanted), None
        geometry = [2, 2], [1, 1], [1, 1], True, list(ctx.missing), 1
        backward = torch.ops.aten.convolution_backward.default
        return *backward(grad, x, weight, [weight.shape[1]], *geometry, wanted), None


def _by_taps(x: Tensor, weight: Tensor, bias: Tensor, size: Size) -> Tensor:
    count, channels, height, width = x.shape
    to = weight.shape[1]
    taps = weight.permute(2, 3, 1, 0).reshape(-1, channels)
    out = x.new_empty(count, to, *size)
    some = max(1, TAPS * torch.get_num_threads() // (9 * to * height * width))
    for pixels, whole in zip(x.permute(0, 2, 3, 1).split(some), out.split(some), strict=True):
        products = taps @ pixels.reshape(-1, channels).t()
        parts = products.view(3, 3, to, len(pixels), height, width)
        _add_up(parts, whole.transpose(0, 1))
    return out.add_(bias.view(-1, 1, 1))


def _add_up(parts: Tensor, out: Tensor) -> None:
    """Add the products of each tap, parts [3, 3, to, B, H, W], to the output, out [to, B, H', W']."""
    for (top, tap, below), (left, across, right) in product(SUMS, SUMS):
        place, part = out[..., top::2, left::2], parts[tap, across, ..., below:, right:]
        height, width = (min(a, b) for a, b in zip(place.shape[2:], part.shape[2:], strict=True))
        place, part = place[..., :height, :width], part[..., :height, :width]
        if below or right:
            place.add_(part)
        else:  # the first that comes there
            place.copy_(part)


def _by_columns(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> Gradients:
    """Compute the gradients of x, weight and bias that are wanted."""
    channels, to = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9 * to, channels)
    some = max(1, COLUMNS // (9 * to * x.shape[2] * x.shape[3]))
    of_x, of_taps = [], torch.zeros_like(taps)
    for part, pixels in zip(grad.split(some), x.split(some), strict=True):
        columns = _columns(part, *pixels.shape[2:])
        if wanted[0]:
            product = (columns @ taps).view(len(pixels), *pixels.shape[2:], channels)
            of_x.append(product.permute(0, 3, 1, 2))
        if wanted[1]:
            of_taps = of_taps + columns.t() @ pixels.permute(0, 2, 3, 1).reshape(-1, channels)
    return (
        torch.cat(of_x) if wanted[0] else None,
        of_taps.view(3, 3, to, channels).permute(3, 2, 0, 1) if wanted[1] else None,
        grad.sum((0, 2, 3)) if wanted[2] else None,
    )


def _columns(grad: Tensor, height: int, width: int) -> Tensor:
    """Gather the output pixels that each of height x width input pixels went to, [B H W, 9 to]."""
    below, right = 2 * height - grad.shape[2], 2 * width - grad.shape[3]
    padded = F.pad(grad, (1, right, 1, below)).permute(0, 2, 3, 1)
    windows = padded.unfold(1, 3, 2).unfold(2, 3, 2).permute(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, 9 * grad.shape[1])
