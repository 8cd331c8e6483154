"""Regularization: penalties added to the loss."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.constraints.constraint import Data, Pass, Penalty, Step
from aeframe.constraints.thresholds import find_rate_threshold
from aeframe.core.bounds import AtLeast, AtMost, Rate
from aeframe.core.distributed import average_over_ranks
from aeframe.core.precision import widen
from aeframe.core.schedules import Clock, Scheduled
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.likelihoods import clamp_with_gradient
from aeframe.models.output import Code

Weight = Annotated[Scheduled, AtLeast(0)]
FIRST_RATE = 0.1
"""The share of samples for which a rectified unit is active when an L1 penalty begins. From one half a sparse
code would take thousands of steps.
"""
SPREAD = 0.3
"""The standard deviation of a logistic unit's input before training."""
WEIGHTED = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
"""Layers whose weights decay."""


class L1(Penalty):
    """The penalty weight * sum_j |h_j|, in a form in which shrinking the code and growing the decoder
    gains nothing.

    form: `norm_weighted` weighs each unit by the norm of the j-th column of d output / d h: exact for a
    linear decoder, estimated without bias for others;
    `unit_norm` keeps the columns of a linear decoder at norm 1 after each step.
    """

    gives = frozenset({"sparsity", "shrinkage", "objective"})
    trades = ("weight",)
    follows_scale = True

    def __init__(
        self,
        *,
        weight: Weight,
        relative: bool = False,
        form: Literal["norm_weighted", "unit_norm"] = "norm_weighted",
    ) -> None:
        super().__init__(weight, relative)
        self.form = form
        if form == "unit_norm":
            self.declare(needs=["linear decoder", "whole weights"], gives=["fixed norms"])
        else:
            self.declare(needs=["derivatives of hidden layers"])

    @property
    def changes_weights(self) -> bool:
        return self.form == "unit_norm"

    @torch.no_grad()
    def attach(self, model: Autoencoder, data: Data) -> None:
        super().attach(model, data)
        code = model.encode(data.batch)
        if code.rectified and isinstance(model.encoder[-1], nn.Linear):
            model.writes_code.bias.sub_(find_rate_threshold(code.pre, FIRST_RATE))

    def penalty(self, seen: Pass) -> Tensor:
        value, decoder = widen(seen.code.value), seen.model.decoder
        if self.form == "unit_norm":
            return value.abs().sum(1).mean()
        if decoder.is_linear:
            return (value.abs() * decoder.dictionary.norm(dim=0)).sum(1).mean()
        with torch.enable_grad():  # also in validation: the norms are those of a derivative
            return (value.abs() * estimate_column_norms(value, seen)).sum(1).mean()

    @torch.no_grad()
    def before_step(self, model: Autoencoder) -> None:
        if self.form != "unit_norm":
            return
        dictionary = model.decoder.dictionary
        tied = not isinstance(dictionary, nn.Parameter)
        stored = model.writes_code.weight.grad if tied else dictionary.grad
        if stored is not None:
            grad = stored.t() if tied else stored
            # remove the part along the column: the renormalization would undo it, and it would mislead
            # Adam's moments
            column = F.normalize(dictionary, dim=0)
            grad -= column * (column * grad).sum(0)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        if self.form == "unit_norm":
            dictionary = step.model.decoder.dictionary
            dictionary.copy_(F.normalize(dictionary, dim=0))


def estimate_column_norms(value: Tensor, seen: Pass) -> Tensor:
    """Estimate ||d output / d h_j|| of each sample without bias, [B, m]. For normal v the mean of |v^T
    column| is sqrt(2 / pi) times the column's norm.
    """
    value = value.detach().requires_grad_()
    output = seen.model.decode(value)
    probe = seen.noise.normal(output.shape, output.device).to(output.dtype)
    (product,) = torch.autograd.grad((output * probe).sum(), value, create_graph=True)
    return widen(product).abs() * math.sqrt(math.pi / 2)


class L2(Penalty):
    """The penalty weight / 2 * the sum of squares of all weights. Biases are left out.

    A term of the loss, unlike AdamW's decay, which is another objective.
    """

    gives = frozenset({"weight decay"})

    def __init__(self, *, weight: Weight, relative: bool = False) -> None:
        super().__init__(weight, relative)

    def penalty(self, seen: Pass) -> Tensor:
        weights = [
            layer.weight
            for part in (seen.model.encoder, seen.model.decoder)
            for layer in part.modules()
            if isinstance(layer, WEIGHTED)
        ]
        return 0.5 * torch.stack([w.square().sum() for w in weights]).sum()


class KLSparsity(Penalty):
    """The penalty weight * sum_j KL(Bernoulli(rho) || Bernoulli(mean of unit j over the batch)) (Ng 2011,
    CS294A).

    The code's units are logistic, and begin with a mean near rho. None is ever 0: a unit counts as dormant
    where it is not above rho. The mean is taken before the divergence, over all ranks' rows.
    """

    needs = frozenset({"deterministic code", "units in (0, 1)", "own weights"})
    gives = frozenset({"sparsity", "bounded means", "objective"})
    trades = ("weight", "rho")

    def __init__(self, *, weight: Weight, rho: Rate, relative: bool = False) -> None:
        super().__init__(weight, relative)
        self.rho = rho

    @torch.no_grad()
    def attach(self, model: Autoencoder, data: Data) -> None:
        super().attach(model, data)
        if model.decoder.is_linear and isinstance(model.decoder.dictionary, nn.Parameter):
            self._fit_scale(model, data.batch, keeps_columns=data.targets is not None)
        # from a mean of 0.5 it would take thousands of steps down to rho
        bias = model.writes_code.bias
        bias.add_(math.log(self.rho / (1 - self.rho)) - model.encode(data.batch).pre.mean(0))

    def _fit_scale(self, model: Autoencoder, x: Tensor, *, keeps_columns: bool) -> None:
        """Scale encoder rows down and decoder columns up as the data grows, as logistic units do not grow.

        keeps_columns: the columns are of targets, which say nothing of the rows.
        """
        rows, bias, columns = (
            model.writes_code.weight,
            model.writes_code.bias,
            model.decoder.dictionary,
        )
        factor = SPREAD / model.encode(x).pre.std().clamp(min=1e-30)
        rows.mul_(factor)
        bias.mul_(factor)
        if not keeps_columns:
            columns.copy_((rows / rows.square().sum(1, keepdim=True)).t())

    def note(self, batch: int) -> str | None:
        wanted = math.ceil(5 / self.rho)
        what = f"a batch of {batch} is too small to estimate a mean of {self.rho:g}; use {wanted} or more"
        return what if batch < wanted else None

    def constrain(self, code: Code, clock: Clock) -> Code:
        if code.in_unit_interval:
            return code
        return code.with_value(code.pre.sigmoid(), floor=self.rho, in_unit_interval=True)

    def unit_means(self, code: Code) -> Tensor:
        return widen(code.value).mean(0)

    def penalty_of(self, means: Tensor) -> Tensor:
        return compute_rate_kl(self.rho, means)

    def penalty(self, seen: Pass) -> Tensor:
        means = self.unit_means(seen.code)
        return self.penalty_of(average_over_ranks(means) if self.training else means)


def compute_rate_kl(rho: float, rate: Tensor) -> Tensor:
    """Compute sum_j KL(Bernoulli(rho) || Bernoulli(rate_j)) in nats, finite for every rate in [0, 1]."""
    # 1e-6 from either end: less would vanish next to 1 in float32
    rate = clamp_with_gradient(rate, 1e-6, 1 - 1e-6)
    target = torch.full_like(rate, rho)
    cross_entropy = -(target * rate.log() + (1 - target) * torch.log1p(-rate))
    entropy = -(target * target.log() + (1 - target) * torch.log1p(-target))
    return (cross_entropy - entropy).sum()


class Contractive(Penalty):
    """The penalty weight * ||d code / d input||_F^2 (Rifai et al. 2011).

    method: `exact`, for one linear layer with an elementwise activation; `hutchinson`, the unbiased
    estimate E_v ||v^T J||^2 for any encoder (v random signs, `probes` of them); `auto` chooses.
    """

    needs = frozenset({"derivatives"})
    gives = frozenset({"insensitivity", "objective"})
    trades = ("weight",)

    def __init__(
        self,
        *,
        weight: Weight,
        relative: bool = False,
        method: Literal["auto", "exact", "hutchinson"] = "auto",
        probes: Annotated[int, AtLeast(1), AtMost(1000)] = 1,
    ) -> None:
        super().__init__(weight, relative)
        self.method, self.probes = method, probes
        if method == "exact":
            self.declare(needs=["linear encoder"])

    def penalty(self, seen: Pass) -> Tensor:
        exact = self.method == "exact" or (self.method == "auto" and is_single_layer(seen.model))
        with torch.enable_grad():  # also in validation: the penalty is itself a derivative
            return self._compute_exact(seen) if exact else self._estimate(seen)

    def _compute_exact(self, seen: Pass) -> Tensor:
        code = seen.code if seen.code.pre.requires_grad else seen.encode(seen.corrupted)
        (slope,) = torch.autograd.grad(code.value.sum(), code.pre, create_graph=True)
        weight = seen.model.writes_code.weight
        return (widen(slope).square() * weight.square().sum(1)).sum(1).mean()

    def _estimate(self, seen: Pass) -> Tensor:
        x = seen.corrupted.detach().requires_grad_()
        value = seen.encode(x).value
        total = value.new_zeros(())
        for _ in range(self.probes):
            uniform = seen.noise.uniform(value.shape, value.device)
            signs = torch.where(uniform < 0.5, -1.0, 1.0).to(value.dtype)
            (product,) = torch.autograd.grad((value * signs).sum(), x, create_graph=True)
            total = total + widen(product).square().flatten(1).sum(1).mean()
        return total / self.probes


def is_single_layer(model: Autoencoder) -> bool:
    """Check whether the encoder is one linear layer, which only the code's activation follows."""
    layers = [layer for layer in model.encoder.modules() if not list(layer.children())]
    is_one_layer = [type(layer) for layer in layers] == [nn.Flatten, nn.Linear]
    return is_one_layer and "posterior" not in model.gives


class Orthogonal(Penalty):
    """The penalty on decoder columns d_j that are not at right angles: ||D^T D - I||_F^2 with no more
    units than outputs.

    With more, where that cannot vanish, the sum of the squared cosines between different columns.
    """

    needs = frozenset({"own weights"})
    gives = frozenset({"objective"})
    trades = ("weight",)

    def __init__(self, *, weight: Weight, relative: bool = False) -> None:
        super().__init__(weight, relative)

    def penalty(self, seen: Pass) -> Tensor:
        dictionary = seen.model.decoder.dictionary
        outputs, units = dictionary.shape
        with torch.autocast(dictionary.device.type, enabled=False):  # a difference of large numbers
            if units <= outputs:
                gram = dictionary.t() @ dictionary
                # made on the device: moving it there would wait for the device
                identity = torch.eye(units, dtype=gram.dtype, device=gram.device)
                return (gram - identity).square().sum()
            columns = F.normalize(dictionary, dim=0)
            # the Gram matrix of the short side has the same norm
            lengths = columns.square().sum(0)
            return (columns @ columns.t()).square().sum() - lengths.square().sum()
