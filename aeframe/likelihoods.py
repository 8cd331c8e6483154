"""What the decoder's output says about a pixel, in nats.

A likelihood turns the decoder's output (`parameters`, shaped like x) into a negative log-likelihood
per element and into a reconstruction (the mean). Constants are kept, so that the values are true
log-densities and comparable between likelihoods and shapes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.bounds import Above


class Likelihood(nn.Module, ABC):
    """p(x | parameters), independent over elements."""

    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """The values that x may take."""
    linear: ClassVar[bool] = False
    """Whether the mean is the decoder's output itself."""

    @property
    def precision(self) -> Tensor | float:
        """1 / variance of an element, where that is one number."""
        return 1.0

    @abstractmethod
    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        """-log p(x | parameters) of each element in nats; the shape of `parameters`."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The reconstruction: E[x | parameters]."""

    @abstractmethod
    def initial_output(self, mean: Tensor) -> Tensor:
        """The decoder's output whose mean is `mean`: where its last bias starts."""


class Bernoulli(Likelihood):
    """Pixels in [0, 1] as probabilities; the decoder gives logits.

    For grey pixels this is the cross-entropy that the literature calls the Bernoulli likelihood.
    """

    support = (0.0, 1.0)

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            parameters, x.expand_as(parameters), reduction="none"
        )

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def initial_output(self, mean: Tensor) -> Tensor:
        # clipped as in Burda et al. 2016: pixels that are always black would start at -inf
        return torch.logit(mean.clamp(1e-3, 1 - 1e-3))


class Gaussian(Likelihood):
    """x ~ N(output, variance) with one variance for all elements.

    variance: a number, or `learned`: one shared log-variance, trained with the weights, which spares
    the tuning of beta (Rybkin et al. 2021, arXiv:2006.13202).
    """

    linear = True

    def __init__(self, *, variance: Annotated[float, Above(0)] | Literal["learned"] = 1.0) -> None:
        super().__init__()
        learned = variance == "learned"
        self.log_variance = nn.Parameter(
            torch.tensor(0.0 if learned else math.log(float(variance))), requires_grad=learned
        )

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_variance = held(self.log_variance, -14.0, 14.0)  # std 1e-3: below it floats give out
        squares = (x - parameters) ** 2 * torch.exp(-log_variance)
        return 0.5 * (squares + log_variance + math.log(2 * math.pi))

    @property
    def precision(self) -> Tensor:
        return torch.exp(-self.log_variance.detach().clamp(min=-14.0))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def initial_output(self, mean: Tensor) -> Tensor:
        return mean


def held(value: Tensor, low: float, high: float) -> Tensor:
    """The value within limits, with its gradient beyond them, too: so that it finds back."""
    return value + (value.clamp(low, high) - value).detach()
