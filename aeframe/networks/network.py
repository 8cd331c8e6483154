"""Network and Decoder: the base classes of all networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.core.part import Part, Word
from aeframe.networks.active_units import Active, read_active

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["none", "batch", "layer"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


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
        """Apply the other layers to that layer's output [B, out]; parameters [B, *shape]."""

    def forward(self, value: Tensor | None, active: Active | None = None) -> Tensor:
        """Return the parameters [B, *shape] of code values [B, m], or of the active units alone."""
        read = self.reader(value) if active is None else read_active(self.reader, active)
        return self.rest(read)

    def store_by_unit(self) -> None:
        """Store the reader's weights unit by unit, fast for `read_active`. Their shape stays [out, m]."""
        weight = self.reader.weight
        if isinstance(weight, nn.Parameter):  # tied weights lie so already
            weight.data = weight.data.t().contiguous().t()

    @property
    def dictionary(self) -> Tensor:
        """Return the weight of the layer that reads the code, [out, m]: one column for each unit."""
        return self.reader.weight

    @property
    @abstractmethod
    def output_bias(self) -> nn.Parameter:
        """Return the last layer's bias: one number for each element, or for each channel."""

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Set the first output [*shape] by the last bias, averaged over elements that share it."""
        bias = self.output_bias
        bias.copy_(output.reshape(bias.numel(), -1).mean(1))


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


class Network(Part, ABC):
    """The base of networks: it builds an encoder and the decoder that mirrors it from the shape of a
    sample, (C, H, W) or (D,).

    widths: of the hidden layers, from the input on. norm: between them. tied: the decoder's weights are the
    encoder's, transposed.
    """

    widths: list[int]
    norm: Norm = "none"
    tied: bool = False

    @property
    def depth(self) -> int:
        """Return the number of hidden layers of the encoder."""
        return len(self.widths)

    @property
    def layout(self) -> Set[Word]:
        """Return the words that describe the layers with these options."""
        found: dict[Word, bool] = {
            "hidden layers": self.depth > 0,
            "batch norm": self.norm == "batch",
            "tied weights": self.tied,
        }
        return {word for word, is_so in found.items() if is_so}

    @abstractmethod
    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        """List the units in each hidden layer of the encoder, first to last."""

    @abstractmethod
    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """Find what is wrong with samples of this shape: (what, remedy)."""

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """Find what is wrong with training on this shape: (what, remedy). Trained networks still load."""
        return None

    def code_shape(self, shape: tuple[int, ...], latent_dim: int) -> tuple[int, ...]:
        """Return the code's shape before it is flattened: (m,), or (C, h, w) of a map whose channels mean
        the same at each position.
        """
        return (latent_dim,)

    def code_problem(self, shape: tuple[int, ...], latent_dim: int) -> tuple[str, str] | None:
        """Find what is wrong with a code of this many units: (what, remedy)."""
        return None

    @abstractmethod
    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        """Build the encoder [B, *shape] -> [B, heads * latent_dim], whose last layer is linear, and the
        decoder [B, latent_dim] -> [B, *shape].
        """


class ConvolutionalNetwork(Network):
    """The base of networks of convolutions, which take images only."""

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        if len(shape) == 3:
            return None
        what = f"convolutions need images of C x H x W, but the samples are vectors of {shape[0]}"
        return what, "Write network=mlp."

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """Find images of one row or one column: (what, remedy)."""
        if len(shape) != 3 or min(shape[1:]) > 1 or shape[1] == shape[2]:
            return None
        height, width = shape[1:]
        what = (
            "two thirds of each 3 x 3 convolution would read only padding of samples of "
            f"{height} x {width}"
        )
        return what, "Write network=mlp."
