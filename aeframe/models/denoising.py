"""A corrupted input, the clean input as target."""

from __future__ import annotations

from typing import Annotated

from aeframe.bounds import AtLeast
from aeframe.likelihoods import Likelihood
from aeframe.models.base import Autoencoder, Shape
from aeframe.networks import Network


class Denoising(Autoencoder):
    """Undoes what a corruption constraint did to its input (Vincent et al. 2008, 2010).

    The code may have any size: it is the corruption that forbids copying.
    """

    requires = "corruption"

    def __init__(
        self,
        *,
        network: Network,
        likelihood: Likelihood,
        shape: Shape,
        latent_dim: Annotated[int, AtLeast(1)],
    ) -> None:
        super().__init__(network=network, likelihood=likelihood, shape=shape, latent_dim=latent_dim)
