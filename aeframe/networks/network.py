"""What every network offers, whatever its layers."""

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
    """From code values [B, m] to the likelihood's parameters [B, *shape]."""

    is_linear: bool
    """Whether it is a single affine map."""

    @property
    @abstractmethod
    def reader(self) -> nn.Linear:
        """The layer that reads the code."""

    @abstractmethod
    def rest(self, read: Tensor) -> Tensor:
        """What the other layers make of that one's output [B, out]: parameters [B, *shape]."""

    def forward(self, value: Tensor | None, active: Active | None = None) -> Tensor:
        """The likelihood's parameters [B, *shape], of a code by its values [B, m] or active units alone."""
        read = self.reader(value) if active is None else read_active(self.reader, active)
        return self.rest(read)

    def store_by_unit(self) -> None:
        """Lay the reader's weights out unit by unit, as `read_active` wants them; they stay [out, m]."""
        weight = self.reader.weight
        if isinstance(weight, nn.Parameter):  # tied weights lie so already
            weight.data = weight.data.t().contiguous().t()

    @property
    def dictionary(self) -> Tensor:
        """The weight of the layer that reads the code, [out, m]: one column for each unit."""
        return self.reader.weight

    @property
    @abstractmethod
    def output_bias(self) -> nn.Parameter:
        """The last layer's bias: one number for each element, or for each channel."""

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Begin with this output [*shape]: the last bias takes it, averaged over what it shares."""
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
    """Builds an encoder and the decoder that mirrors it, from the shape of a sample: (C, H, W) or (D,).

    widths: of the hidden layers, from the input on. norm: between them. tied: whether the decoder's weights
    are the encoder's, transposed.
    """

    widths: list[int]
    norm: Norm = "none"
    tied: bool = False

    @property
    def depth(self) -> int:
        """The number of hidden layers of the encoder."""
        return len(self.widths)

    @property
    def layout(self) -> Set[Word]:
        """Describe the layers with these options in words."""
        found: dict[Word, bool] = {
            "hidden layers": self.depth > 0,
            "batch norm": self.norm == "batch",
            "tied weights": self.tied,
        }
        return {word for word, is_so in found.items() if is_so}

    @abstractmethod
    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        """The number of units in each hidden layer of the encoder, first to last."""

    @abstractmethod
    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """What is wrong with samples of this shape, and the remedy: (what, remedy)."""

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """Find what is wrong with training on samples of this shape: (what, remedy). Networks that
        were trained so are loaded.
        """
        return None

    def code_shape(self, shape: tuple[int, ...], latent_dim: int) -> tuple[int, ...]:
        """The code's own shape before it is flattened: (m,), or (C, h, w) of a map whose channels mean the
        same at each position.
        """
        return (latent_dim,)

    def code_problem(self, shape: tuple[int, ...], latent_dim: int) -> tuple[str, str] | None:
        """What is wrong with a code of so many units, and the remedy: (what, remedy)."""
        return None

    @abstractmethod
    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        """Encoder [B, *shape] -> [B, heads * latent_dim], whose last layer is linear, and decoder
        [B, latent_dim] -> [B, *shape].
        """


def not_images(shape: tuple[int, ...]) -> tuple[str, str] | None:
    """What is wrong with samples that are no images, for a network of convolutions: (what, remedy)."""
    if len(shape) == 3:
        return None
    what = f"convolutions need images of C x H x W, and the samples are vectors of {shape[0]}"
    return what, "Write network=mlp."


def single_line(shape: tuple[int, ...]) -> tuple[str, str] | None:
    """Refuse images of one row or one column for convolutions: (what, remedy)."""
    if len(shape) != 3 or min(shape[1:]) > 1 or shape[1] == shape[2]:
        return None
    height, width = shape[1:]
    what = (
        f"two thirds of each 3 x 3 convolution would see nothing of samples of {height} x {width}"
    )
    return what, "Write network=mlp."
