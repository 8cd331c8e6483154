"""Likelihoods: the meaning of the decoder's output, in nats.

A likelihood turns the decoder's output (`parameters`, shaped like x) into a negative log-likelihood
per element and into a reconstruction (the mean). `nll` keeps all constants: its values are true
log-densities and comparable between likelihoods and shapes. `loss` leaves out those that nothing
learned can change: they would hide the fall of the loss.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.distributed import average_over_ranks, average_weighted
from aeframe.core.part import Part
from aeframe.core.precision import widen
from aeframe.data.table_schema import Schema

LIMIT = 14.0  # of a log-variance; -14 is a deviation of 1e-3, the least that floats resolve


class Likelihood(Part, nn.Module, ABC):
    """The base of distributions p(x | parameters), independent over elements. Both are [B, *shape], x in
    normalized units.
    """

    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """The values that x may take."""
    scales_columns: ClassVar[bool] = False
    """True if it needs the columns of a table in scales of their own."""

    @property
    def precision(self) -> Tensor | float:
        """Return 1 / variance of an element, where that is one number."""
        return 1.0

    @abstractmethod
    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Compute -log p(x | parameters) of each element in nats, shaped like `parameters`."""

    def constant(self, x: Tensor) -> Tensor | float:
        """Return the part of `nll` that nothing learned can change, [*shape] or one number."""
        return 0.0

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute -log p(x | parameters) in nats without its constant, summed over elements and averaged
        over the batch.

        weight: of each element, or None for ones.
        """
        nll = self.nll(parameters, x) - self.constant(x)
        return (nll if weight is None else nll * weight).flatten(1).sum(1).mean()

    def sum_constant(self, x: Tensor, weight: Tensor | None = None) -> Tensor | float:
        """Compute what `loss` leaves out of -log p(x | parameters), in nats per sample."""
        constant = self.constant(x)
        if isinstance(constant, float) and constant == 0.0:
            return 0.0
        each = constant * (x.new_ones(x.shape[1:]) if weight is None else weight)
        return each.expand(x.shape).flatten(1).sum(1).mean()

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Return the reconstruction: E[x | parameters], [B, *shape]."""

    def suited(self, *, stochastic: bool) -> Likelihood:
        """Return this likelihood without `auto` options. stochastic: the code is drawn from a posterior."""
        return self

    def fit_columns(self, columns: Schema | None) -> None:
        """Take the columns of a table, or None for other data. Called once, when the model is made."""

    def columns_problem(self, columns: Schema | None) -> tuple[str, str] | None:
        """Find what is wrong with data of these columns, None for no table: (what, remedy)."""
        return None

    def take_scale(self, scale: Tensor) -> None:
        """Take the normalization's scale, of all elements or each. Called once, before `start_at`."""

    def describe(self) -> str:
        """Describe it in one line for the user."""
        return type(self).__name__

    def start_at(self, x: Tensor, output: Tensor) -> None:
        """Fit it to samples x [N, *shape] about the decoder's first output [1, *shape]."""

    def expect_variance(self, rest: Tensor) -> Tensor:
        """Return the expected variance of an element. rest: the error of the best linear model."""
        return rest

    def observe(self, parameters: Tensor, x: Tensor, weight: Tensor) -> None:
        """Learn in closed form from a training batch without a call of `loss`. weight: of each element."""

    @abstractmethod
    def initial_output(self, mean: Tensor) -> Tensor:
        """Return the decoder's output whose mean is `mean` [*shape], the training data's. The last bias
        starts there.
        """

    def slope(self, mean: Tensor) -> Tensor:
        """Return the change of each output with its own mean, at `mean` [*shape]. A network that starts as
        principal component analysis has it in its linear path.
        """
        return torch.ones_like(mean)

    @torch.no_grad()
    def left_by_mean(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Measure the error of the mean of samples x [N, *shape]: in nats, and as the norm of the change
        of the output that would remove it. Both are medians over the samples, which a few huge ones do
        not change.
        """
        x = x.double()
        mean, best = self.initial_output(x.mean(0)).expand_as(x), self.initial_output(x)
        nats = (self.nll(mean, x) - self.nll(best, x)).flatten(1).sum(1)
        return nats.median(), (best - mean).flatten(1).norm(dim=1).median()


class Bernoulli(Likelihood):
    """Pixels in [0, 1] as probabilities; the decoder gives logits.

    For gray pixels this is the cross-entropy that the literature calls the Bernoulli likelihood.
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
    """The distribution x ~ N(output, variance) with one variance for all elements.

    variance: a number; `optimal`, in closed form: the mean squared error of the last training batches, at
    which the likelihood is greatest, so that nobody has to tune beta (Rybkin et al. 2021, arXiv:2006.13202);
    `learned`: one shared log-variance, trained with the weights, which takes it thousands of steps; `auto`:
    `optimal` for a code that is drawn from a posterior, and 1 elsewhere. The first two start at the data's
    variance.
    """

    gives = frozenset({"linear mean"})
    pace = 0.1
    """The share by which a batch moves the optimal variance to its own error."""

    def __init__(
        self,
        *,
        variance: Annotated[float, AtLeast(1e-6), AtMost(1e6)]
        | Literal["auto", "optimal", "learned"] = 1.0,
    ) -> None:
        super().__init__()
        self.variance = variance
        number = 1.0 if isinstance(variance, str) else float(variance)
        # not on the meta device, where no number can be read
        log_variance = torch.tensor(math.log(number), device="cpu")
        if variance == "optimal":  # no weight: the optimizer does not move it
            self.register_buffer("log_variance", log_variance)
        else:
            self.log_variance = nn.Parameter(log_variance, requires_grad=variance == "learned")
        self._note_variance()
        self.register_load_state_dict_post_hook(Gaussian._note_variance)

    @property
    def adapts(self) -> bool:
        """Check whether the variance follows the data."""
        return self.variance in ("optimal", "learned")

    def expect_variance(self, rest: Tensor) -> Tensor:
        return rest if self.fixed is None else torch.full_like(rest, self.fixed)

    def suited(self, *, stochastic: bool) -> Gaussian:
        if self.variance != "auto":
            return self
        return Gaussian(variance="optimal" if stochastic else 1.0)

    def describe(self) -> str:
        if not self.adapts:
            return f"Gaussian, variance {self.fixed:g}"
        return f"Gaussian, {self.variance} variance"

    def _note_variance(self, *_: object) -> None:
        """Keep a fixed variance as a number: reading a tensor would wait for the device."""
        self.fixed = (
            None if self.adapts else math.exp(min(max(self.log_variance.item(), -LIMIT), LIMIT))
        )

    @torch.no_grad()
    def start_at(self, x: Tensor, output: Tensor) -> None:
        if self.adapts:
            mean = x.mean(0)
            about_mean = x.var(0, correction=0)  # without a difference as large as x
            error = (about_mean + (mean - output).square()).mean()
            self.log_variance.copy_(error.clamp(min=math.exp(-LIMIT)).log())

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        log_variance = clamp_with_gradient(self.log_variance, -LIMIT, LIMIT)
        squares = (x - parameters) ** 2 * torch.exp(-log_variance)
        return 0.5 * (squares + log_variance + math.log(2 * math.pi))

    def constant(self, x: Tensor) -> float:
        return 0.0 if self.fixed is None else 0.5 * math.log(2 * math.pi * self.fixed)

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is not None:
            loss = super().loss(parameters, x, weight)
            self.observe(parameters, x, weight)
            return loss
        count = x.numel() // len(x)
        if self.fixed is not None:
            return _SquaredError.apply(parameters, x, 0.5 / (self.fixed * len(x)))
        squares: Tensor = _SquaredError.apply(parameters, x, 1 / len(x))
        log_variance = clamp_with_gradient(self.log_variance, -LIMIT, LIMIT)
        scaled = squares * torch.exp(-log_variance)
        self._follow(squares / count)  # of the next batch
        return 0.5 * (scaled + count * (log_variance + math.log(2 * math.pi)))

    def observe(self, parameters: Tensor, x: Tensor, weight: Tensor) -> None:
        if self.variance == "optimal" and self.training:
            squares = (x - parameters.detach()).square() * weight
            weights = weight.expand_as(squares).sum()
            self._follow(average_weighted(squares.sum(), weights, len(x)))

    @torch.no_grad()
    def _follow(self, error: Tensor) -> None:
        """Move the optimal variance towards a training batch's mean squared error."""
        if self.variance == "optimal" and self.training:
            variance = self.log_variance.exp().lerp_(average_over_ranks(error.detach()), self.pace)
            self.log_variance.copy_(variance.clamp_(min=math.exp(-LIMIT)).log_())

    @property
    def precision(self) -> Tensor:
        return torch.exp(-self.log_variance.detach().clamp(min=-LIMIT))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def initial_output(self, mean: Tensor) -> Tensor:
        return mean


class _SquaredError(torch.autograd.Function):
    """The function scale * sum (parameters - x)^2, in one pass over the elements each way."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, x: Tensor, scale: float) -> Tensor:
        error = parameters - x
        ctx.save_for_backward(error)
        ctx.scale = scale
        flat = error.reshape(-1)
        return flat.dot(flat) * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (error,) = ctx.saved_tensors
        return error * (grad * (2 * ctx.scale)), None, None


def clamp_with_gradient(value: Tensor, low: float, high: float) -> Tensor:
    """Clamp the value, but keep its gradient beyond the limits so that it can return."""
    return value + (value.clamp(low, high) - value).detach()
