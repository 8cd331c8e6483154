"""Sparse autoencoder: more code units than inputs, few of them active at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aeframe.core.errors import Problem
from aeframe.core.noise import Noise
from aeframe.core.part import Word
from aeframe.models.autoencoder import Autoencoder, Setting, Units
from aeframe.models.output import Code
from aeframe.models.principal import find_components

START = 0.5
"""The norm of a linear model's columns and rows before training. From 1 they turn too slowly, and the code's
errors are as large as the data; from 0.1 the first units to grow win all samples, and the others die.
"""
MOST, LEAST, WEIGHTS = 1024, 64, 2**20
"""Limits of the automatic number of units, and of the weights that they have each way. On 404 and 2,000
crops of 32 x 32 x 3, 64 and 128 units have smaller errors than 128 and 256, of which a quarter is dead.
"""


class Sparse(Autoencoder):
    """An autoencoder with rectified code units, most of which a constraint keeps at zero.

    The encoder reads x minus the training data's mean (as in Bricken et al. 2023). Otherwise all units turn
    towards that mean, and a bright sample activates nearly all of them at once. With one linear layer
    each way the encoder starts as the transpose of the decoder, with columns of equal norm and no bias. This
    leaves fewer units dead (Gao et al. 2024, arXiv:2406.04093).
    latent_dim: `auto` must be replaced by a number before. allow_undercomplete: lifts the rule that there are
    more units than inputs; `auto` lifts it for 64 units and more, which `choose` takes of large samples.
    """

    needs = frozenset({"sparsity", "large code"})
    pairs_components = True
    centre: Tensor

    def __init__(
        self,
        setting: Setting,
        *,
        latent_dim: Units | Literal["auto"],
        allow_undercomplete: bool | Literal["auto"] = False,
    ) -> None:
        assert latent_dim != "auto", "it is chosen before"
        super().__init__(setting, latent_dim=latent_dim)
        is_enough = latent_dim >= LEAST
        self.allow_undercomplete = (
            is_enough if allow_undercomplete == "auto" else allow_undercomplete
        )
        shared = "shared weights" in setting.network.gives  # by all positions
        centre = (self.shape[0], 1, 1) if shared else self.shape
        self.register_buffer("centre", torch.zeros(centre))
        if self.decoder.is_linear and setting.target is None:
            self._start_tied()

    @torch.no_grad()
    def _start_tied(self) -> None:
        columns, encode = self.decoder.dictionary, self.writes_code
        columns.copy_(START * nn.functional.normalize(columns, dim=0))
        encode.weight.copy_(columns.t())
        encode.bias.zero_()

    @classmethod
    def needs_with(cls, options: Mapping[str, Any]) -> Set[Word]:
        allowed = options.get("allow_undercomplete") is True
        return cls.needs - {"large code"} if allowed else cls.needs

    @classmethod
    def choose(
        cls, options: Mapping[str, Any], inputs: int, samples: int | None = None
    ) -> dict[str, Any]:
        """Return the values that stand for `auto`: twice as many units as inputs, but a power of two of at
        most 1,024, with a million weights each way and eight samples for each unit, and at least 64. Where
        the options refuse a code of so few units, they are twice as many as inputs.
        """
        few = MOST if samples is None else samples // 8
        units = max(LEAST, 2 ** int(math.log2(max(1, min(MOST, WEIGHTS // inputs, few)))))
        if units <= inputs and options.get("allow_undercomplete") is False:
            units = 2 * inputs
        return {"latent_dim": min(2 * inputs, units)}

    def encode(self, x: Tensor, noise: Noise | None = None) -> Code:
        return self.write_code(x - self.centre, rectified=True)

    @torch.no_grad()
    def start_at(self, mean: Tensor, inputs: Tensor | None = None) -> None:
        super().start_at(mean, inputs)
        centre = mean if inputs is None else inputs
        self.centre.copy_(centre.reshape(*self.centre.shape, -1).mean(-1))

    @torch.no_grad()
    def start_as_pca(self, x: Tensor) -> None:
        """Start with a unit for each sign of the principal components of samples x [N, *shape]: the k largest
        units then reconstruct any sample at least as well as the first k components.
        """
        axes = find_components(x.flatten(1), self.latent_dim // 2).axes
        both, columns = torch.cat([axes, -axes]), self.decoder.dictionary
        columns[:, : len(both)] = both.t()
        self.writes_code.weight[: len(both)] = both

    def problems(self) -> list[Problem]:
        if self.allow_undercomplete or self.latent_dim > self.inputs:
            return []
        what = f"a sparse code needs more units than the {self.inputs} inputs"
        remedy = f"Write model.latent_dim={2 * self.inputs}, or model.allow_undercomplete=true."
        return [Problem(f"model.latent_dim={self.latent_dim}", what, remedy)]
