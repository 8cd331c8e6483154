"""Convolutional network: strided convolutions and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from aeframe.core.bounds import AtLeast
from aeframe.networks.decoder import Decoder
from aeframe.networks.network import ACTIVATIONS, Activation, ConvolutionalNetwork, Norm, Start
from aeframe.networks.upsampling import Doubling, Size


@dataclass(kw_only=True, eq=False)
class Conv(ConvolutionalNetwork):
    """A network of 3 x 3 convolutions with stride 2, then one linear layer to the code.

    The decoder mirrors them with transposed convolutions whose output padding restores each stage's
    size, so that the output has the input's shape, odd sizes included.

    widths: channels after each stage.
    """

    widths: list[Annotated[int, AtLeast(1)]]
    activation: Activation = "relu"
    norm: Norm = "none"
    start: Start = "random"

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        sizes = self._list_sizes(shape)[1:]
        return [c * h * w for c, (h, w) in zip(self.widths, sizes, strict=True)]

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        sizes = self._list_sizes(shape)
        channels = [shape[0], *self.widths]
        last = (channels[-1], *sizes[-1])
        units = last[0] * last[1] * last[2]
        stages = [
            self._build_stage(nn.Conv2d(a, b, 3, stride=2, padding=1), b)
            for a, b in pairwise(channels)
        ]
        encoder = nn.Sequential(*stages, nn.Flatten(), nn.Linear(units, heads * latent_dim))
        decoder = ConvDecoder(
            nn.Linear(latent_dim, units), last, self._build_upsampling(channels, sizes)
        )
        for part in (encoder, decoder):  # the layout that convolutions are fastest in
            part.to(memory_format=torch.channels_last)
        return self.add_path(encoder, decoder, shape)

    def _build_upsampling(self, channels: list[int], sizes: list[Size]) -> nn.Sequential:
        ups: list[nn.Module] = []
        for i in range(len(channels) - 1, 0, -1):
            padding = (
                _find_output_padding(sizes[i][0], sizes[i - 1][0]),
                _find_output_padding(sizes[i][1], sizes[i - 1][1]),
            )
            up = Doubling(channels[i], channels[i - 1], padding)
            ups.append(up if i == 1 else self._build_stage(up, channels[i - 1]))
        before: nn.Module = ACTIVATIONS[self.activation]() if ups else nn.Identity()
        return nn.Sequential(before, *ups)

    def _build_stage(self, layer: nn.Module, channels: int) -> nn.Sequential:
        norms = {"batch": nn.BatchNorm2d(channels), "layer": nn.GroupNorm(1, channels)}
        norm = [norms[self.norm]] if self.norm != "none" else []
        return nn.Sequential(layer, *norm, ACTIVATIONS[self.activation]())

    def _list_sizes(self, shape: tuple[int, ...]) -> list[Size]:
        sizes = [(shape[1], shape[2])]
        for _ in self.widths:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes


def _find_output_padding(small: int, large: int) -> int:
    """Return the output padding with which stride 2 leads from `small` back to `large` pixels."""
    return large - (2 * small - 1)


class ConvDecoder(Decoder):
    """One linear layer from the code, then transposed convolutions."""

    def __init__(self, read: nn.Linear, inner: tuple[int, int, int], ups: nn.Sequential) -> None:
        super().__init__()
        self.read, self.inner, self.ups = read, inner, ups
        self.is_linear = len(ups) == 1

    @property
    def reader(self) -> nn.Linear:
        return self.read

    def rest(self, read: Tensor) -> Tensor:
        image = read.view(
            -1, *self.inner
        )  # as it is, gradients would have another layout than values
        return self.ups(image.contiguous(memory_format=torch.channels_last))

    @property
    def last(self) -> nn.Module:
        return self.read if self.is_linear else self.ups[-1]
