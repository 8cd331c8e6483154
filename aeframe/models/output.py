"""Results of one pass through an autoencoder: its code, and the terms of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aeframe.networks import Active


class Posterior(NamedTuple):
    """The distribution q(z | x) = N(mean, diag(exp(log_variance))), each [B, m]."""

    mean: Tensor
    log_variance: Tensor

    def kl(self) -> Tensor:
        """Return KL(q || N(0, I)) of each unit in nats, [B, m] (Kingma & Welling 2014, appendix B)."""
        # expm1: near the prior exp(v) - 1 would be rounding alone
        return 0.5 * (self.mean**2 + torch.expm1(self.log_variance) - self.log_variance)


class Code(NamedTuple):
    """An encoder's output.

    pre: the encoder's output before any activation, [B, m].
    value: the decoder's input, [B, m]; [k * B, m] when k samples are drawn, sample by sample. It is
    `stored`, or follows from `kept`, the few active units, or from `pre`, which may be `rectified`.
    features: the input of the encoder's last layer, [B, in], if known.
    floor: a unit whose value is not above it is dormant.
    in_unit_interval: the values lie in (0, 1).
    posterior: of a variational model.
    """

    pre: Tensor
    stored: Tensor | None = None
    floor: float = 0.0
    in_unit_interval: bool = False
    posterior: Posterior | None = None
    rectified: bool = False
    kept: Active | None = None
    features: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """Return the values that the decoder reads, [B, m]."""
        if self.stored is not None:
            return self.stored
        if self.kept is not None:
            return self.kept.spread(self.pre)
        return self.pre.relu() if self.rectified else self.pre

    @property
    def active(self) -> Tensor:
        """Return the units that are not dormant, bool [B, m]."""
        if self.kept is not None:
            return self.kept.find_above(self.floor, self.pre)
        return self.value.abs() > self.floor

    def with_value(
        self, value: Tensor, *, floor: float = 0.0, in_unit_interval: bool = False
    ) -> Code:
        """Return this code with other values for the decoder."""
        return self._replace(
            stored=value, floor=floor, in_unit_interval=in_unit_interval, kept=None
        )

    def with_active(self, kept: Active) -> Code:
        """Return this code with all units but these at zero."""
        return self._replace(stored=None, kept=kept)


class Term(NamedTuple):
    """One term of the loss in nats, averaged over the batch, and its weight at this step."""

    value: Tensor
    weight: float = 1.0

    @property
    def weighted(self) -> Tensor:
        """Return its share of the loss."""
        return self.value if self.weight == 1.0 else self.value * self.weight


class Output(NamedTuple):
    """The result of one pass through the model.

    x: the clean target. corrupted: the encoder's input; targets may have another shape. mask: its
    corrupted elements (bool), or None.
    parameters: the decoder's output; mean: from them to the reconstruction. terms: the loss by name.
    present: the elements that are no gaps (bool), or None; a gap has no share in the loss, and a neutral
    value in x. All images are [B, *shape] in normalized units.
    """

    x: Tensor
    corrupted: Tensor
    mask: Tensor | None
    code: Code
    parameters: Tensor
    mean: Callable[[Tensor], Tensor]
    terms: dict[str, Term]
    present: Tensor | None = None

    @property
    def loss(self) -> Tensor:
        """Return the weighted sum of the terms, nats per sample."""
        first, *others = (term.weighted for term in self.terms.values())
        return sum(others, start=first)

    @property
    def reconstruction(self) -> Tensor:
        """Compute the mean image of each sample. It is computed on demand: few training steps read it."""
        return self.mean(self.parameters)
