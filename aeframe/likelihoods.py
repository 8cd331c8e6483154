"""What the decoder's output says about a pixel, in nats.

A likelihood turns the decoder's output (`parameters`, shaped like x) into a negative log-likelihood
per element and into a reconstruction (the mean). Constants are kept, so that the values are true
log-densities and comparable between likelihoods and shapes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from aeframe.bounds import AtLeast, AtMost
from aeframe.precision import widen

LIMIT = 14.0  # of a log-variance; -14 is a deviation of 1e-3, below which floats give out


class Likelihood(nn.Module, ABC):
    """p(x | parameters), independent over elements; both are [B, *shape], x in normalised units."""

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

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """-log p(x | parameters) in nats, summed over elements and averaged over the batch.

        weight: of each element, or None for ones.
        """
        nll = self.nll(parameters, x)
        return (nll if weight is None else nll * weight).flatten(1).sum(1).mean()

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The reconstruction: E[x | parameters], [B, *shape]."""

    @abstractmethod
    def initial_output(self, mean: Tensor) -> Tensor:
        """The decoder's output whose mean is `mean` [*shape], as the training data's: where its last bias
        starts.
        """

    @torch.no_grad()
    def left_by_mean(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Measure what the mean of samples x [N, *shape] leaves unexplained: nats, and the norm of the change
        of the output that explains them. Medians over the samples: a few huge ones do not set them.
        """
        x = x.double()
        mean, best = self.initial_output(x.mean(0)).expand_as(x), self.initial_output(x)
        nats = (self.nll(mean, x) - self.nll(best, x)).flatten(1).sum(1)
        return nats.median(), (best - mean).flatten(1).norm(dim=1).median()


class Bernoulli(Likelihood):
    """Pixels in [0, 1] as probabilities; the decoder gives logits.

    For grey pixels this is the cross-entropy that the literature calls the Bernoulli likelihood.
    """

    support = (0.0, 1.0)

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            parameters, x.expand_as(parameters), reduction="none"
        )

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is not None:
            return super().loss(parameters, x, weight)
        # one pass over the elements each way
        return F.binary_cross_entropy_with_logits(parameters, x, reduction="sum") / len(x)

    def mean(self, parameters: Tensor) -> Tensor:
        return widen(parameters).sigmoid()

    def initial_output(self, mean: Tensor) -> Tensor:
        # clipped as in Burda et al. 2016: pixels that are always black would start at -inf
        return torch.logit(mean.clamp(1e-3, 1 - 1e-3))


class Gaussian(Likelihood):
    """x ~ N(output, variance) with one variance for all elements.

    variance: a number, or `learned`: one shared log-variance, trained with the weights, which spares
    the tuning of beta (Rybkin et al. 2021, arXiv:2006.13202).
    """

    linear = True

    def __init__(
        self, *, variance: Annotated[float, AtLeast(1e-6), AtMost(1e6)] | Literal["learned"] = 1.0
    ) -> None:
        super().__init__()
        learned = variance == "learned"
        self.log_variance = nn.Parameter(
            torch.tensor(0.0 if learned else math.log(float(variance))), requires_grad=learned
        )
        self._note_variance()
        self.register_load_state_dict_post_hook(Gaussian._note_variance)

    def _note_variance(self, *_: object) -> None:
        """A fixed variance as a number: to ask a tensor for it would be to wait for the device."""
        learned = self.log_variance.requires_grad
        held = min(max(self.log_variance.item(), -LIMIT), LIMIT)
        self.fixed = None if learned else math.exp(held)

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_variance = held(self.log_variance, -LIMIT, LIMIT)
        squares = (x - parameters) ** 2 * torch.exp(-log_variance)
        return 0.5 * (squares + log_variance + math.log(2 * math.pi))

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is not None or self.fixed is None:
            return super().loss(parameters, x, weight)
        constant = 0.5 * (x.numel() // len(x)) * math.log(2 * math.pi * self.fixed)
        return _SquaredError.apply(parameters, x, 0.5 / (self.fixed * len(x)), constant)

    @property
    def precision(self) -> Tensor:
        return torch.exp(-self.log_variance.detach().clamp(min=-LIMIT))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def initial_output(self, mean: Tensor) -> Tensor:
        return mean


class _SquaredError(torch.autograd.Function):
    """scale * sum (parameters - x)^2 + constant, in one pass over the elements each way."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, x: Tensor, scale: float, constant: float) -> Tensor:
        error = parameters - x
        ctx.save_for_backward(error)
        ctx.scale = scale
        flat = error.reshape(-1)
        return flat.dot(flat) * scale + constant

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (error,) = ctx.saved_tensors
        return error * (grad * (2 * ctx.scale)), None, None, None


def held(value: Tensor, low: float, high: float) -> Tensor:
    """The value within limits, with its gradient beyond them, too: so that it finds back."""
    return value + (value.clamp(low, high) - value).detach()
