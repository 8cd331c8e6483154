"""Network chosen by the shape of the samples: convolutions for images, else fully connected layers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from torch import nn

from aeframe.core.bounds import AtLeast
from aeframe.networks.conv import Conv
from aeframe.networks.decoder import Decoder
from aeframe.networks.mlp import MLP
from aeframe.networks.network import Activation, Network, Norm, Start

Kind = Literal["conv", "mlp"]

SMALLEST = 16
"""Height and width from which images get convolutions."""
WIDTHS: dict[Kind, list[int]] = {"conv": [32, 64], "mlp": [256, 128]}


class Automatic(Network):
    """A network of convolutions for images of at least 16 x 16, and of fully connected layers for all else.

    kind: `conv`, `mlp`, or `auto` for a choice by the shape of the samples. widths: as those of Conv or MLP;
    `auto`: [32, 64] channels or [256, 128] units.
    """

    def __init__(
        self,
        *,
        kind: Kind | Literal["auto"] = "auto",
        widths: list[Annotated[int, AtLeast(1)]] | Literal["auto"] = "auto",
        activation: Activation = "relu",
        norm: Norm = "none",
        start: Start = "random",
    ) -> None:
        self.kind, self.given = kind, widths
        self.activation, self.norm, self.start = activation, norm, start
        self.widths = WIDTHS["mlp" if kind == "auto" else kind] if widths == "auto" else widths

    def choose(self, shape: tuple[int, ...]) -> dict[str, Any]:
        kind = self._kind(shape)
        return {"kind": kind, "widths": list(self._widths(kind))}

    def _kind(self, shape: tuple[int, ...]) -> Kind:
        if self.kind != "auto":
            return self.kind
        return "conv" if len(shape) == 3 and min(shape[1:]) >= SMALLEST else "mlp"

    def _widths(self, kind: Kind) -> list[int]:
        return WIDTHS[kind] if self.given == "auto" else self.given

    def _make(self, shape: tuple[int, ...]) -> Network:
        kind = self._kind(shape)
        cls = Conv if kind == "conv" else MLP
        widths = self._widths(kind)
        return cls(widths=widths, activation=self.activation, norm=self.norm, start=self.start)

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        return self._make(shape).layer_sizes(shape)

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return self._make(shape).problem(shape)

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return self._make(shape).training_problem(shape)

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        return self._make(shape).build(shape, latent_dim, heads)
