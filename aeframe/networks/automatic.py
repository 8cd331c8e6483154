"""Network chosen by the shape of the samples: convolutions for images, else fully connected layers."""

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
"""Height and width from which images get convolutions."""
WIDTHS: dict[Kind, list[int]] = {"conv": [32, 64], "mlp": [256, 128]}


@dataclass(kw_only=True, eq=False)
class Automatic(Network):
    """A network of convolutions for images of at least 16 x 16, and of fully connected layers for all else.

    kind: `conv`, `mlp`, or `auto` for a choice by the shape of the samples. widths: as those of Conv or MLP;
    `auto`: [32, 64] channels or [256, 128] units. dropout, tied: of MLP, which `auto` then chooses.
    """

    kind: Kind | Literal["auto"] = "auto"
    widths: list[Annotated[int, AtLeast(1)]] | Literal["auto"] = "auto"  # type: ignore[assignment]
    activation: Activation = "relu"
    norm: Norm = "none"
    start: Start = "random"
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    tied: bool = False

    def __post_init__(self) -> None:
        if self.kind == "conv" and (self.dropout or self.tied):
            raise ValueError(
                "convolutions have neither dropout nor tied weights: write network=mlp"
            )

    @property
    def depth(self) -> int:
        widths = WIDTHS["mlp" if self.kind == "auto" else self.kind]
        return len(widths if self.widths == "auto" else self.widths)

    def choose(self, shape: tuple[int, ...]) -> dict[str, Any]:
        kind = self._choose_kind(shape)
        return {"kind": kind, "widths": list(self._choose_widths(kind))}

    def _choose_kind(self, shape: tuple[int, ...]) -> Kind:
        if self.kind != "auto":
            return self.kind
        is_image = len(shape) == 3 and min(shape[1:]) >= SMALLEST
        return "conv" if is_image and not (self.dropout or self.tied) else "mlp"

    def _choose_widths(self, kind: Kind) -> list[int]:
        return WIDTHS[kind] if self.widths == "auto" else self.widths

    def _make(self, shape: tuple[int, ...]) -> Network:
        kind = self._choose_kind(shape)
        shared = {"activation": self.activation, "norm": self.norm, "start": self.start}
        widths = self._choose_widths(kind)
        if kind == "conv":
            return Conv(widths=widths, **shared)  # type: ignore[arg-type]
        return MLP(widths=widths, dropout=self.dropout, tied=self.tied, **shared)  # type: ignore[arg-type]

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
