"""More code units than inputs, few of them active at once."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import nn

from aeframe.bounds import AtLeast
from aeframe.errors import Problem
from aeframe.likelihoods import Likelihood
from aeframe.models.base import Autoencoder, Code, Shape
from aeframe.networks import Network
from aeframe.noise import Noise


class Sparse(Autoencoder):
    """Rectified code units, most of which a constraint keeps at zero.

    With one linear layer each way the encoder starts as the transpose of a decoder with unit columns,
    which leaves fewer units dead (Gao et al. 2024, arXiv:2406.04093).
    allow_undercomplete: lifts the rule that there are more units than inputs.
    """

    requires = "sparsity"

    def __init__(
        self,
        *,
        network: Network,
        likelihood: Likelihood,
        shape: Shape,
        latent_dim: Annotated[int, AtLeast(1)],
        allow_undercomplete: bool = False,
    ) -> None:
        super().__init__(network=network, likelihood=likelihood, shape=shape, latent_dim=latent_dim)
        self.allow_undercomplete = allow_undercomplete
        if self.decoder.is_linear and not network.tied:
            with torch.no_grad():
                self.decoder.dictionary.copy_(
                    nn.functional.normalize(self.decoder.dictionary, dim=0)
                )
                self.writes_code.weight.copy_(self.decoder.dictionary.t())

    def encode(self, x: torch.Tensor, noise: Noise | None = None) -> Code:
        pre = self.encoder(x)
        return Code(pre, pre.relu())

    def problems(self) -> list[Problem]:
        if self.allow_undercomplete or self.latent_dim > self.inputs:
            return []
        what = f"a sparse code needs more units than the {self.inputs} inputs"
        remedy = f"Write model.latent_dim={2 * self.inputs}, or model.allow_undercomplete=true."
        return [Problem(f"model.latent_dim={self.latent_dim}", what, remedy)]
