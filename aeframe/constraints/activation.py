"""Dormant units by activation: a unit is active only above a threshold."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from aeframe.constraints.constraint import Constraint, Data, Pass, Penalty, Step
from aeframe.constraints.thresholds import find_rate_threshold
from aeframe.core.bounds import AtLeast, AtMost, Rate
from aeframe.core.distributed import average_over_ranks
from aeframe.core.schedules import Clock, Scheduled
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.output import Code, Output

Adapt = Annotated[float, AtLeast(0), AtMost(100)]


class _Homeostatic(Constraint):
    """Units whose thresholds follow their activity (Foldiak 1990, doi:10.1007/BF02331346). After each step
    theta += adapt * std * (activity - rate).

    Without it the reconstruction's gradient makes ever more units active. std: of the units' inputs at
    initialization. adapt: 0 leaves the thresholds where initialization put them.
    """

    needs = frozenset({"deterministic code"})
    gives = frozenset({"sparsity", "dormant units"})
    trades = ("theta", "rate")
    theta: Tensor
    spread: Tensor

    def __init__(self, rate: float | None, adapt: float) -> None:
        super().__init__()
        self.rate, self.adapt = rate, adapt

    def attach(self, model: Autoencoder, data: Data) -> None:
        pre = model.encode(data.batch).pre
        self.register_buffer("theta", self.find_thresholds(pre))
        self.register_buffer("spread", pre.std())

    def find_thresholds(self, pre: Tensor) -> Tensor:
        """Return the first thresholds, [m], from the data's pre-activations [N, m]."""
        raise NotImplementedError

    def measure_activity(self, code: Code) -> Tensor:
        """Return the mean activity of each unit over the batch, [m]."""
        raise NotImplementedError

    def restart(self, units: Tensor, live: Tensor) -> None:
        if bool(live.any()):
            self.theta[units] = self.theta[live].mean()

    def observe(self, output: Output, clock: Clock) -> None:
        if self.rate is not None and self.adapt:
            excess = average_over_ranks(self.measure_activity(output.code)) - self.rate
            self.theta += self.adapt * self.spread * excess


class Threshold(_Homeostatic):
    """A rectified unit that is zero up to its threshold theta. form: `shifted` is max(0, z - theta);
    `hard` is z where z > theta.

    theta: the same for all units, fixed; or rate: the share of samples for which each unit is active,
    from which its theta is set at initialization. adapt: how fast it then follows the unit's activity.
    """

    def __init__(
        self,
        *,
        theta: Annotated[float, AtLeast(0), AtMost(1e9)] | None = None,
        rate: Rate | None = None,
        adapt: Adapt = 0.3,
        form: Literal["shifted", "hard"] = "shifted",
    ) -> None:
        super().__init__(rate, adapt)
        if (theta is None) == (rate is None):
            raise ValueError("write either theta or rate, and leave the other null")
        self.given, self.form = theta, form

    def active_units(self, latent_dim: int) -> float | None:
        return self.rate * latent_dim if self.rate and self.adapt else None

    def find_thresholds(self, pre: Tensor) -> Tensor:
        if self.rate is None:
            return torch.full_like(pre[0], float(self.given or 0.0))
        return find_rate_threshold(pre, self.rate)

    def measure_activity(self, code: Code) -> Tensor:
        return code.active.float().mean(0)

    def constrain(self, code: Code, clock: Clock) -> Code:
        over = code.pre - self.theta
        value = over.relu() if self.form == "shifted" else code.pre.relu() * (over > 0)
        return code.with_value(value)


class Sigmoid(_Homeostatic):
    """A steep logistic unit 1 / (1 + exp(-gain * (z - theta))) that rests near 0 and saturates at 1.

    rate: the mean of each unit over the data, from which its center theta is set at initialization. A unit
    is never 0: it counts as dormant unless it exceeds this rate.
    adapt: how fast theta then follows the unit's activity.
    """

    gives = frozenset({"units in (0, 1)"})

    def __init__(
        self, *, gain: Annotated[float, AtLeast(1e-3), AtMost(1e3)], rate: Rate, adapt: Adapt = 0.3
    ) -> None:
        super().__init__(rate, adapt)
        self.gain, self.mean = gain, rate

    @torch.no_grad()
    def find_thresholds(self, pre: Tensor) -> Tensor:
        reach = abs(math.log(1 / self.mean - 1)) / self.gain
        low, high = pre.amin(0) - reach, pre.amax(0) + reach
        for _ in range(40):  # bisection: the mean falls as the center rises
            middle = (low + high) / 2
            above = (self.gain * (pre - middle)).sigmoid().mean(0) > self.mean
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return (low + high) / 2

    def measure_activity(self, code: Code) -> Tensor:
        return code.value.mean(0)

    def constrain(self, code: Code, clock: Clock) -> Code:
        value = (self.gain * (code.pre - self.theta)).sigmoid()
        return code.with_value(value, floor=self.mean, in_unit_interval=True)


class JumpReLU(Penalty):
    """The activation z where z > theta, with theta learned for each unit, and weight * L0 in the loss
    (Rajamanoharan et al. 2024, arXiv:2407.14435). theta's gradient is the straight-through estimate
    with a rectangular kernel.

    bandwidth: the kernel's width, in standard deviations of z at initialization.
    rate: the share of samples for which each unit is active at initialization.
    """

    needs = frozenset({"deterministic code"})
    gives = frozenset({"sparsity", "dormant units", "objective"})
    trades = ("weight",)
    width: Tensor

    def __init__(
        self,
        *,
        weight: Annotated[Scheduled, AtLeast(0)],
        relative: bool = False,
        rate: Rate = 0.1,
        bandwidth: Annotated[float, AtLeast(1e-4), AtMost(1e4)] = 0.5,
    ) -> None:
        super().__init__(weight, relative)
        self.rate, self.bandwidth = rate, bandwidth

    @torch.no_grad()
    def attach(self, model: Autoencoder, data: Data) -> None:
        super().attach(model, data)
        pre = model.encode(data.batch).pre
        self.theta = nn.Parameter(find_rate_threshold(pre, self.rate).clamp(min=0))
        self.register_buffer("width", self.bandwidth * pre.std())

    def constrain(self, code: Code, clock: Clock) -> Code:
        # with theta in float32: in half precision its steps would round away
        value = _Jump.apply(code.pre.float(), self.theta, self.width)
        return code.with_value(value.to(code.pre.dtype))

    def penalty(self, seen: Pass) -> Tensor:
        return _Step.apply(seen.code.pre.float(), self.theta, self.width).sum(1).mean()

    @torch.no_grad()
    def restart(self, units: Tensor, live: Tensor) -> None:
        if bool(live.any()):
            self.theta[units] = self.theta[live].mean()

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        self.theta.clamp_(min=0)


class _Jump(torch.autograd.Function):
    """The function z * 1[z > theta]; d/dtheta = -theta / width * 1[|z - theta| < width / 2]."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(z, theta, width)
        return z * (z > theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        z, theta, width = ctx.saved_tensors
        near = (z - theta).abs() < width / 2
        return grad * (z > theta), -(theta / width) * (grad * near).sum(0), None


class _Step(torch.autograd.Function):
    """The function 1[z > theta]; d/dtheta = -1 / width * 1[|z - theta| < width / 2]; z gets no gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(z, theta, width)
        return (z > theta).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        z, theta, width = ctx.saved_tensors
        near = (z - theta).abs() < width / 2
        return None, -(grad * near).sum(0) / width, None
