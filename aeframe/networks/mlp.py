"""Multilayer perceptron: fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.core.bounds import AtLeast, Below
from aeframe.networks.decoder import Decoder
from aeframe.networks.network import ACTIVATIONS, Activation, Network, Norm, Start


@dataclass(kw_only=True, eq=False)
class MLP(Network):
    """A network of linear layers of the given widths. The decoder has the same in reverse.

    widths: units of the encoder's hidden layers; [] gives one linear layer each way.
    tied: the decoder's weights are the encoder's, transposed; the biases stay its own.
    dropout: the probability that a hidden unit is dropped.
    """

    widths: list[Annotated[int, AtLeast(1)]]
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    tied: bool = False
    start: Start = "random"

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        return self.widths

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return None

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        sizes = [math.prod(shape), *self.widths, latent_dim]
        down = [nn.Linear(a, b) for a, b in pairwise(sizes[:-1])]
        down.append(nn.Linear(sizes[-2], heads * latent_dim))
        up: list[nn.Module]
        if self.tied:
            up = [TiedLinear(layer) for layer in reversed(down)]
        else:
            back = sizes[::-1]
            up = [nn.Linear(a, b) for a, b in pairwise(back)]
        encoder = nn.Sequential(nn.Flatten(), *self._interleave(down, self.widths))
        decoder = MLPDecoder(self._interleave(up, self.widths[::-1]), tuple(shape))
        return self.add_path(encoder, decoder, shape)

    def _interleave(
        self, layers: list[nn.Module] | list[nn.Linear], widths: list[int]
    ) -> list[nn.Module]:
        """List the layers with norm, activation and dropout after each but the last."""
        norms = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        modules: list[nn.Module] = []
        for layer, width in zip(layers, widths, strict=False):
            modules.append(layer)
            if (norm := norms[self.norm]) is not None:
                modules.append(norm(width))
            modules.append(ACTIVATIONS[self.activation]())
            if self.dropout:
                modules.append(nn.Dropout(self.dropout))
        return [*modules, layers[-1]]


class MLPDecoder(Decoder):
    """A decoder of the mirrored layers, reshaped to a sample."""

    def __init__(self, modules: list[nn.Module], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*modules)
        self.shape, self.is_linear = shape, len(modules) == 1

    @property
    def reader(self) -> nn.Linear:
        return self.layers[0]  # type: ignore[return-value]

    def rest(self, read: Tensor) -> Tensor:
        for layer in islice(self.layers, 1, None):
            read = layer(read)
        return read.view(-1, *self.shape)

    @property
    def last(self) -> nn.Module:
        return self.layers[-1]


def list_linear_layers(module: nn.Module) -> Iterator[nn.Linear | TiedLinear]:
    """Yield the linear layers of a network, tied ones included."""
    for part in module.modules():
        if type(part) in (nn.Linear, TiedLinear):
            yield part  # type: ignore[misc]


class TiedLinear(nn.Module):
    """The transpose of another layer, with a bias of its own."""

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple: the weight is the encoder's, registered once
        self.bias = nn.Parameter(torch.zeros(source.in_features))

    @property
    def weight(self) -> Tensor:
        return self._source[0].weight.t()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)
