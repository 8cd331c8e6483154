"""Convolutional network for signals, images and volumes: strided convolutions and a linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from aeframe.core.bounds import AtLeast
from aeframe.networks.decoder import Decoder
from aeframe.networks.network import (
    ACTIVATIONS,
    Activation,
    Network,
    Norm,
    Start,
    describe_shape,
    find_flat_side,
)
from aeframe.networks.residual import Residual
from aeframe.networks.upsampling import build_doubling

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
"""Convolutions by the number of axes of a sample behind its channels."""
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
WIDTHS = {1: [32, 32], 2: [32, 64], 3: [32, 64]}
"""Channels for `auto`. A stage halves a signal once, so that its channels must not double."""


@dataclass(kw_only=True, eq=False)
class Conv(Network):
    """A network of convolutions with stride 2, of 3 places each way, then one linear layer to the code.

    Samples are signals [C, L], images [C, H, W] or volumes [C, D, H, W]. The decoder mirrors the encoder with
    transposed convolutions whose output padding restores each stage's size, so that the output has the
    input's shape, odd sizes included.

    widths: channels after each stage; `auto`: [32, 64], for signals [32, 32]. residual: adds two
    convolutions beside the identity after each stage (He et al. 2016); they begin at zero.
    """

    widths: list[Annotated[int, AtLeast(1)]] | Literal["auto"] = "auto"  # type: ignore[assignment]
    activation: Activation = "relu"
    norm: Norm = "none"
    residual: bool = False
    start: Start = "random"

    @property
    def depth(self) -> int:
        return len(WIDTHS[2] if self.widths == "auto" else self.widths)  # as many for all shapes

    def choose(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"widths": list(self._choose_widths(shape))}

    def _choose_widths(self, shape: tuple[int, ...]) -> list[int]:
        return WIDTHS.get(len(shape) - 1, WIDTHS[2]) if self.widths == "auto" else self.widths

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        if len(shape) - 1 in CONVOLUTIONS:
            return None
        what = "convolutions need signals of C x L, images of C x H x W or volumes of C x D x H x W, but the "
        what += f"samples are {describe_shape(shape)}"
        return what, "Write network=mlp."

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return find_flat_side(shape)

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        widths = self._choose_widths(shape)
        sizes = _list_sizes(shape, len(widths))[1:]
        return [c * math.prod(size) for c, size in zip(widths, sizes, strict=True)]

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        widths = self._choose_widths(shape)
        sizes = _list_sizes(shape, len(widths))
        channels = [shape[0], *widths]
        last = (channels[-1], *sizes[-1])
        units = math.prod(last)
        convolution = CONVOLUTIONS[len(shape) - 1]
        stages = [
            self._build_stage(convolution(a, b, 3, stride=2, padding=1), b, len(shape) - 1)
            for a, b in pairwise(channels)
        ]
        encoder = nn.Sequential(*stages, nn.Flatten(), nn.Linear(units, heads * latent_dim))
        decoder = ConvDecoder(
            nn.Linear(latent_dim, units), last, self._build_upsampling(channels, sizes)
        )
        if len(shape) == 3:
            for part in (encoder, decoder):  # the layout that convolutions are fastest in
                part.to(memory_format=torch.channels_last)
        return self.add_path(encoder, decoder, shape)

    def _build_upsampling(self, channels: list[int], sizes: list[tuple[int, ...]]) -> nn.Sequential:
        ups: list[nn.Module] = []
        for i in range(len(channels) - 1, 0, -1):
            missing = tuple(map(_find_output_padding, sizes[i], sizes[i - 1]))
            up = build_doubling(channels[i], channels[i - 1], missing)
            ups.append(up if i == 1 else self._build_stage(up, channels[i - 1], len(missing)))
        before: nn.Module = ACTIVATIONS[self.activation]() if ups else nn.Identity()
        return nn.Sequential(before, *ups)

    def _build_stage(self, layer: nn.Module, channels: int, axes: int) -> nn.Sequential:
        stage = [layer, *self._build_norm(channels, axes), ACTIVATIONS[self.activation]()]
        if self.residual:
            convolution = CONVOLUTIONS[axes]
            inner, outer = (convolution(channels, channels, 3, padding=1) for _ in range(2))
            nn.init.zeros_(outer.weight)
            assert outer.bias is not None
            nn.init.zeros_(outer.bias)
            norm = self._build_norm(channels, axes)
            stage.append(Residual(inner, *norm, ACTIVATIONS[self.activation](), outer))
        return nn.Sequential(*stage)

    def _build_norm(self, channels: int, axes: int) -> list[nn.Module]:
        if self.norm == "none":
            return []
        return [BATCH_NORMS[axes](channels) if self.norm == "batch" else nn.GroupNorm(1, channels)]


def _list_sizes(shape: tuple[int, ...], stages: int) -> list[tuple[int, ...]]:
    """List the sides of a sample [C, *sides] before the first and after each stage."""
    sizes = [tuple(shape[1:])]
    for _ in range(stages):
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    return sizes


def _find_output_padding(small: int, large: int) -> int:
    """Return the output padding with which stride 2 leads from `small` back to `large` pixels."""
    return large - (2 * small - 1)


class ConvDecoder(Decoder):
    """One linear layer from the code, then transposed convolutions."""

    def __init__(self, read: nn.Linear, inner: tuple[int, ...], ups: nn.Sequential) -> None:
        super().__init__()
        self.read, self.inner, self.ups = read, inner, ups
        self.is_linear = len(ups) == 1

    @property
    def reader(self) -> nn.Linear:
        return self.read

    def rest(self, read: Tensor) -> Tensor:
        sample = read.view(-1, *self.inner)
        if sample.ndim == 4:  # as it is, gradients would have another layout than values
            sample = sample.contiguous(memory_format=torch.channels_last)
        return self.ups(sample)

    @property
    def last(self) -> nn.Module:
        return self.read if self.is_linear else self.ups[-1]
