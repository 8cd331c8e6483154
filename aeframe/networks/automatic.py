"""Network chosen by the shape of the samples: convolutions or fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import nn

from aeframe.core.bounds import AtLeast, Below
from aeframe.networks.conv import Conv
from aeframe.networks.decoder import Decoder
from aeframe.networks.mlp import MLP
from aeframe.networks.network import Activation, Network, Norm, Start

Kind = Literal["conv", "mlp"]

SMALLEST = 16
"""Sides from which signals, images and volumes get convolutions."""
WIDTHS = [256, 128]
"""Hidden units of mlp for `auto`."""


@dataclass(kw_only=True, eq=False)
class Automatic(Network):
    """A network of convolutions for signals, images and volumes with sides of at least 16, and of fully
    connected layers for all else.

    kind: `conv`, `mlp`, or `auto` for a choice by the shape of the samples. widths: as those of Conv or MLP;
    `auto`: those that Conv chooses, or [256, 128] units. residual: of Conv, and dropout, tied: of MLP, which
    `auto` then chooses.
    """

    kind: Kind | Literal["auto"] = "auto"
    widths: list[Annotated[int, AtLeast(1)]] | Literal["auto"] = "auto"  # type: ignore[assignment]
    activation: Activation = "relu"
    norm: Norm = "none"
    residual: bool = False
    start: Start = "random"
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    tied: bool = False

    def __post_init__(self) -> None:
        is_dense = bool(self.dropout or self.tied)
        if is_dense and (self.kind == "conv" or self.residual):
            raise ValueError(
                "convolutions have neither dropout nor tied weights: write network=mlp"
            )
        if self.residual and self.kind == "mlp":
            raise ValueError("only convolutions have residual layers: write network.residual=false")

    @property
    def depth(self) -> int:
        return len(WIDTHS if self.widths == "auto" else self.widths)

    def choose(self, shape: tuple[int, ...]) -> dict[str, Any]:
        made = self._make(shape)
        kind = "conv" if isinstance(made, Conv) else "mlp"
        return {"kind": kind, **({"widths": list(made.widths)} | made.choose(shape))}

    def _choose_kind(self, shape: tuple[int, ...]) -> Kind:
        if self.kind != "auto":
            return self.kind
        is_large = len(shape) in (2, 3, 4) and min(shape[1:]) >= SMALLEST
        return "conv" if self.residual or (is_large and not (self.dropout or self.tied)) else "mlp"

    def _make(self, shape: tuple[int, ...]) -> Network:
        if self._choose_kind(shape) == "conv":
            return Conv(
                widths=self.widths,
                activation=self.activation,
                norm=self.norm,
                residual=self.residual,
                start=self.start,
            )
        return MLP(
            widths=WIDTHS if self.widths == "auto" else self.widths,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            tied=self.tied,
            start=self.start,
        )

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        return self._make(shape).layer_sizes(shape)

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return self._make(shape).problem(shape)

    def target_problem(
        self, shape: tuple[int, ...], target: tuple[int, ...]
    ) -> tuple[str, str] | None:
        if self.kind == "auto":  # an encoder and a decoder of different kinds are chosen later
            return MLP(widths=[], tied=self.tied).target_problem(shape, target)
        return self._make(shape).target_problem(shape, target)

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return self._make(shape).training_problem(shape)

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        return self._make(shape).build(shape, latent_dim, heads)
