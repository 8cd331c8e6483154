"""Undercomplete autoencoder: a code smaller than the input."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

from aeframe.core.errors import Problem, shorten
from aeframe.models.autoencoder import Autoencoder, Setting, Units


class Undercomplete(Autoencoder):
    """An autoencoder whose layers narrow to the code and widen from it (Hinton & Salakhutdinov 2006).

    latent_dim: `auto` must be replaced by a number before. allow_overcomplete: lifts both size rules, to
    study a network without any constraint.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        latent_dim: Units | Literal["auto"],
        allow_overcomplete: bool = False,
    ) -> None:
        assert latent_dim != "auto", "it is chosen before"
        super().__init__(setting, latent_dim=latent_dim)
        self.allow_overcomplete = allow_overcomplete

    def problems(self) -> list[Problem]:
        found = []
        units = [*self.layer_sizes, self.latent_dim]
        if any(wide <= narrow for wide, narrow in pairwise(units)):
            convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
            convolves = any(isinstance(layer, convolutions) for layer in self.encoder.modules())
            places = "pixels" if len(self.shape) == 3 else "places"
            of = f" (channels x {places})" if convolves else ""
            what = f"the layers must narrow to the code, but have {shorten(units)} units{of}, code last"
            better = "fewer or smaller widths" if convolves else "widths that decrease to the code"
            found.append(Problem("network.widths", what, f"Write {better}."))
        if self.latent_dim >= self.inputs:
            what = f"the code must be smaller than the {self.inputs} inputs"
            smaller = f"Write model.latent_dim={max(1, self.inputs // 4)}, or model=sparse."
            remedy = smaller if self.inputs > 1 else "Write model=sparse."
            found.append(Problem(f"model.latent_dim={self.latent_dim}", what, remedy))
        return [] if self.allow_overcomplete else found
