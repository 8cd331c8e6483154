"""Linear path beside a network: its code and output can start as those of principal component analysis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.networks.active_units import Active, read_active
from aeframe.networks.decoder import Decoder


class WithInput(nn.Module):
    """Hidden features and the input itself, side by side: [B, *shape] -> [B, h + D]."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.layers(x), x.flatten(1)], 1)


class PathDecoder(Decoder):
    """A decoder whose output is the sum of another decoder's and of one linear layer's."""

    is_linear = False

    def __init__(self, inner: Decoder, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.shape = inner, shape
        self.path = nn.Linear(inner.reader.in_features, math.prod(shape))

    @property
    def reader(self) -> nn.Linear:
        return self.inner.reader

    def rest(self, read: Tensor) -> Tensor:
        return self.inner.rest(read)

    def forward(self, value: Tensor | None, active: Active | None = None) -> Tensor:
        straight = self.path(value) if active is None else read_active(self.path, active)
        return self.inner(value, active) + straight.view(-1, *self.shape)

    @property
    def dictionary(self) -> Tensor:
        """Return both layers that read the code, one below the other, [out + D, m]."""
        return torch.cat([self.inner.dictionary, self.path.weight])

    @property
    def straight(self) -> nn.Linear:
        return self.path

    @property
    def last(self) -> nn.Module:
        return self.path

    @torch.no_grad()
    def quiet_others(self) -> None:
        for parameter in self.inner.last.parameters():
            parameter.zero_()


def add_linear_path(
    encoder: nn.Sequential, decoder: Decoder, shape: tuple[int, ...]
) -> tuple[nn.Sequential, Decoder]:
    """Put a linear path beside the layers of both. The encoder's last layer reads the input, too."""
    *layers, last = encoder
    assert isinstance(last, nn.Linear)
    wide = nn.Linear(last.in_features + math.prod(shape), last.out_features)
    return nn.Sequential(WithInput(layers), wide), PathDecoder(decoder, shape)
