"""Network: the base class of all networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import Any, Literal

from torch import nn

from aeframe.core.part import Part, Word
from aeframe.networks.decoder import Decoder
from aeframe.networks.linear_path import add_linear_path

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["none", "batch", "layer"]
Start = Literal["auto", "random", "pca"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Network(Part, ABC):
    """The base of networks: it builds an encoder and the decoder that mirrors it from the shape of a
    sample: (D,), (C, L), (C, H, W) or (C, D, H, W).

    widths: of the hidden layers, from the input on. norm: between them. tied: the decoder's weights are the
    encoder's, transposed. start: `pca` puts a linear path beside the hidden layers and starts as principal
    component analysis of the training data, `random` with random weights, `auto` chooses.
    """

    widths: list[int]
    norm: Norm = "none"
    tied: bool = False
    start: Start = "random"

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

    def choose(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the values of options that stand for `auto` with samples of this shape."""
        return {}

    @abstractmethod
    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        """Find what is wrong with samples of this shape: (what, remedy)."""

    def target_problem(
        self, shape: tuple[int, ...], target: tuple[int, ...]
    ) -> tuple[str, str] | None:
        """Find what is wrong with targets of another shape than the samples: (what, remedy)."""
        if target == shape:
            return None
        if self.tied:
            what = "the transposed weights of an encoder of {} cannot write targets of {}"
            sizes = (" x ".join(map(str, sides)) for sides in (shape, target))
            return what.format(*sizes), "Write network.tied=false."
        wrong = self.problem(target)
        return wrong and (wrong[0].replace("the samples are", "the targets are"), wrong[1])

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

        Targets of another shape are written by a decoder that is built for that shape.
        """

    def add_path(
        self, encoder: nn.Sequential, decoder: Decoder, shape: tuple[int, ...]
    ) -> tuple[nn.Sequential, Decoder]:
        """Add the linear path that starts as principal component analysis, if the option asks for it."""
        if self.start != "pca" or not self.depth:
            return encoder, decoder
        return add_linear_path(encoder, decoder, shape)


def describe_shape(shape: tuple[int, ...]) -> str:
    """Describe the shape of a sample in words."""
    return f"vectors of {shape[0]}" if len(shape) == 1 else f"of {' x '.join(map(str, shape))}"


def find_flat_side(shape: tuple[int, ...]) -> tuple[str, str] | None:
    """Find a side of one place, as of images of one row, which convolutions read badly: (what, remedy)."""
    sides = shape[1:]
    if len(sides) < 2 or min(sides) > 1 or max(sides) == 1:
        return None
    kernel, size = (" x ".join(map(str, each)) for each in ([3] * len(sides), sides))
    what = f"two thirds of each {kernel} convolution would read only padding of samples of {size}"
    return what, "Write network=mlp."
