"""Decoder: the base classes of all decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from aeframe.networks.active_units import Active, read_active


class Decoder(nn.Module, ABC):
    """The base of decoders, from code values [B, m] to the likelihood's parameters [B, *shape]."""

    is_linear: bool
    """True for a single affine map."""

    @property
    @abstractmethod
    def reader(self) -> nn.Linear:
        """Return the layer that reads the code."""

    @abstractmethod
    def rest(self, read: Tensor) -> Tensor:
        """Apply the layers after the reader to its output [B, out]; returns the parameters [B, *shape]."""

    def forward(self, value: Tensor | None, active: Active | None = None) -> Tensor:
        """Return the likelihood's parameters [B, *shape], from a code's values [B, m] or its active units
        alone.
        """
        read = self.reader(value) if active is None else read_active(self.reader, active)
        return self.rest(read)

    def store_by_unit(self) -> None:
        """Store the reader's weights unit by unit, which is fast for `read_active`. Their shape stays
        [out, m].
        """
        weight = self.reader.weight
        if isinstance(weight, nn.Parameter):  # tied weights lie so already
            weight.data = weight.data.t().contiguous().t()

    @property
    def dictionary(self) -> Tensor:
        """Return the weight of the layer that reads the code, [out, m]: one column for each unit."""
        return self.reader.weight

    @property
    @abstractmethod
    def last(self) -> nn.Module:
        """Return the layer that writes the output, with a weight and a bias."""

    @property
    def straight(self) -> nn.Linear | None:
        """Return the linear layer from the code to the output, if the decoder has one."""
        return self.reader if self.is_linear else None

    @property
    def output_bias(self) -> nn.Parameter:
        """Return the last layer's bias: one number for each element, or for each channel."""
        bias = self.last.bias
        assert isinstance(bias, nn.Parameter)
        return bias

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the first output [*shape] by the last bias, averaged over elements that share it."""
        bias = self.output_bias
        bias.copy_(output.reshape(bias.numel(), -1).mean(1))

    @torch.no_grad()
    def quiet_others(self) -> None:
        """Set to zero the first output of all layers but the `straight` one."""


class MapDecoder(Decoder):
    """A decoder whose code is a map of channels, [B, C, h, w], for images of any size.

    patch: height and width in pixels of a position of the map. channels: C. reach: number of positions, each
    way, within which a position has an effect.
    """

    patch: int
    channels: int
    reach: int

    @abstractmethod
    def positions(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the code of an image of that size."""

    @abstractmethod
    def sized(self, value: Tensor, height: int, width: int) -> Tensor:
        """Decode the code of images of that size to parameters, [B, colors, height, width]."""
