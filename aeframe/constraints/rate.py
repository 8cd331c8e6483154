"""Compression: the size of the code in bytes is a term of the loss."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.constraints.constraint import Data, Pass, Penalty
from aeframe.constraints.penalty import Weight
from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.noise import Noise
from aeframe.core.precision import widen
from aeframe.core.schedules import Clock
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.likelihoods import clamp_with_gradient
from aeframe.models.output import Code

QUICK = 5.0
"""A factor on the distributions' parameters. Adam then moves them that many times as fast as weights, so that
they keep up with a growing code. Without it MNIST takes 9 % more bytes after 12 epochs.
"""


class Rate(Penalty):
    """The penalty weight * the nats that an entropy coder needs for the code, rounded to multiples of
    `step`.

    In training uniform noise one step wide stands in place of rounding, so that there is a gradient (Balle et
    al. 2017, arXiv:1611.01704); elsewhere the code is rounded. The numbers of each unit, or each channel of
    a map, are taken to be of a logistic distribution, whose mean and scale are learned with the weights. With
    a unit-variance Gaussian likelihood the weight is the squared error, halved, that a nat is worth; an
    orthonormal transform that is rounded to `step` has its best at a weight of step^2 / 12.
    """

    needs = frozenset({"deterministic code"})
    gives = frozenset({"objective", "rounded code"})
    trades = ("weight", "step")
    mean: nn.Parameter
    log_scale: nn.Parameter

    def __init__(
        self, *, weight: Weight, step: Annotated[float, AtLeast(1e-6), AtMost(1e6)] = 1.0
    ) -> None:
        super().__init__(weight)
        self.step = self.rounds_to = step

    def attach(self, model: Autoencoder, data: Data) -> None:
        self.units = model.code_shape[0]
        self.mean = nn.Parameter(torch.zeros(self.units))
        self.log_scale = nn.Parameter(torch.zeros(self.units))
        if len(model.code_shape) > 1:  # a map begins as coefficients of the data
            with torch.no_grad():
                steps = self._group_by_unit(model.encode(data.batch).value / self.step)
                variance = steps.var((0, 2), correction=0) + 1 / 12  # that of the noise
                self.mean.copy_(steps.mean((0, 2)) / QUICK)
                self.log_scale.copy_((variance * 3).sqrt().div(math.pi).log() / QUICK)

    def constrain(self, code: Code, clock: Clock) -> Code:
        if self.training:
            return code
        value = widen(code.value)
        rounded = (value / self.step).round() * self.step
        # a penalty on the code's derivative reads the code before rounding
        return code.with_value(value + (rounded - value).detach(), floor=code.floor)

    def perturb(self, code: Code, noise: Noise, clock: Clock) -> Code:
        value = widen(code.value)  # in bfloat16 noise of one step is lost on large numbers
        uniform = noise.uniform(value.shape, value.device) - 0.5
        return code.with_value(value + self.step * uniform.to(value.dtype), floor=code.floor)

    def penalty(self, seen: Pass) -> Tensor:
        return self.compute_nats(seen.code.value / self.step).sum(1).mean()

    def compute_nats(self, steps: Tensor) -> Tensor:
        """Compute -log of the probability within half a step of each number, [B, m], given in steps."""
        inverse = torch.exp(-clamp_with_gradient(QUICK * self.log_scale, -10.0, 10.0))[:, None]
        centred = self._group_by_unit(steps) - QUICK * self.mean[:, None]
        upper, lower = (centred + 0.5) * inverse, (centred - 0.5) * inverse
        # sigmoid(upper) - sigmoid(lower), without a difference of numbers near 1
        width = torch.log(-torch.expm1(-inverse))
        return -(F.logsigmoid(upper) + F.logsigmoid(-lower) + width).flatten(1)

    def _group_by_unit(self, code: Tensor) -> Tensor:
        """Group numbers [B, m] by the unit whose distribution they share, [B, units, positions]."""
        return code.view(len(code), self.units, -1)
