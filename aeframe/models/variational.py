"""Variational autoencoder: a code that is drawn from a posterior and kept close to a prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.distributed import average_over_ranks
from aeframe.core.errors import Problem
from aeframe.core.noise import Noise
from aeframe.core.part import Word
from aeframe.core.precision import widen
from aeframe.core.schedules import Clock, Schedule, Scheduled, parse_schedule
from aeframe.data.gaps import keep_present
from aeframe.models.autoencoder import Autoencoder, Setting, Units
from aeframe.models.likelihoods import clamp_with_gradient
from aeframe.models.output import Code, Posterior, Term
from aeframe.models.principal import Components

IWAE = "importance_weighted"
NEGATIVE_BOUND = "negative_importance_weighted_bound"


class Variational(Autoencoder):
    """The model q(z|x) = N(mean, diag variance), p(z) = N(0, I), trained by stochastic gradient
    variational Bayes (Kingma & Welling 2014, arXiv:1312.6114).

    latent_dim: `auto` must be replaced by a number before. beta: the weight of the KL term. free_bits: nats
    below which a unit's KL costs nothing (Kingma et al. 2016). k: samples drawn for each x. objective:
    `elbo`, averaged over the samples, or `importance_weighted`, the tighter bound of Burda et al. 2016
    (arXiv:1509.00519).
    """

    gives = frozenset({"posterior", "prior"})
    heads = 2
    trades = ("beta", "free_bits")  # a larger latent_dim has no better bound by itself

    def __init__(
        self,
        setting: Setting,
        *,
        latent_dim: Units | Literal["auto"],
        beta: Annotated[Scheduled, AtLeast(0), AtMost(1e9)] = 1.0,
        free_bits: Annotated[float, AtLeast(0), AtMost(1e6)] = 0.0,
        k: Annotated[int, AtLeast(1), AtMost(1000)] = 1,
        objective: Literal["elbo", "importance_weighted"] = "elbo",
    ) -> None:
        assert latent_dim != "auto", "it is chosen before"
        super().__init__(setting, latent_dim=latent_dim)
        self.k, self.objective = k, objective
        self.beta = parse_schedule(beta)
        self.elbo = ELBO(self.beta, free_bits)

    def scale_components(self, components: Components) -> tuple[Tensor, Tensor]:
        """Start as the best linear model, probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019)."""
        rest = self.likelihood.expect_variance(components.rest)
        rest = rest.clamp(min=1e-4 * float(components.variances.max()) + 1e-12)
        variances = components.variances.clamp(min=1.01 * rest)
        scale, count = (variances - rest).sqrt(), len(variances)
        head = slice(self.latent_dim, self.latent_dim + count)
        self.writes_code.weight[head] = 0
        self.writes_code.bias[head] = (rest / variances).log()
        return scale / variances, scale

    @classmethod
    def term_names(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ELBO.names if options.get("objective") != IWAE else (NEGATIVE_BOUND,)

    @classmethod
    def needs_with(cls, options: Mapping[str, Any]) -> Set[Word]:
        return cls.needs | {"even elements"} if options.get("objective") == IWAE else cls.needs

    @classmethod
    def aim(cls, options: Mapping[str, Any]) -> str:
        """Return the bound if training ends with it, else the loss, which beta or free bits change."""
        if options.get("objective") == IWAE:
            return NEGATIVE_BOUND
        with suppress(ValueError):  # an unreadable schedule is reported elsewhere
            ends_plain = parse_schedule(options.get("beta", 1.0)).extremes[-1] == 1.0
            return "negative_elbo" if ends_plain and not options.get("free_bits") else "loss"
        return "negative_elbo"

    def encode(self, x: Tensor, noise: Noise | None = None) -> Code:
        mean, log_variance = widen(self.write_code(x).pre).chunk(2, dim=1)
        posterior = Posterior(mean, clamp_with_gradient(log_variance, -14.0, 14.0))
        value = mean if noise is None else draw(posterior, self.k, noise)
        return Code(mean, value, posterior=posterior)

    def terms(
        self, x: Tensor, code: Code, parameters: Tensor, weight: Tensor | None, clock: Clock
    ) -> dict[str, Term]:
        assert code.posterior is not None
        k = len(parameters) // len(x)  # 1 where nothing was drawn
        if self.objective == "elbo":
            weights, repeated = (
                None if weight is None else repeat_rows(weight, k),
                repeat_rows(x, k),
            )
            reconstruction = self.likelihood.loss(parameters, repeated, weights)
            reconstruction = reconstruction + self.likelihood.sum_constant(
                repeated, weights
            )  # a bound
            return self.elbo(reconstruction, code.posterior, clock, training=self.training)
        nll = self.likelihood.nll(parameters.unflatten(0, (k, len(x))), x)
        nll = (nll if weight is None else nll * weight).flatten(2).sum(2)  # [k, B]
        samples = code.value.unflatten(0, (k, len(x)))
        weights = log_weights(-nll, samples, code.posterior)
        # of the samples in the bound's gradient
        shares = weights.detach().softmax(0)[..., *[None] * (x.ndim - 1)]
        counts = shares if weight is None else shares * weight
        self.likelihood.observe(parameters.unflatten(0, (k, len(x))), x, counts)
        bound = importance_weighted_bound(weights)
        return {NEGATIVE_BOUND: Term(-bound.mean())}

    def sample(self, n: int, noise: Noise, device: torch.device | str = "cpu") -> Tensor:
        """Draw n codes from the prior and return their mean images, [n, *shape]."""
        drawn = noise.normal((n, self.latent_dim), device)
        return self.reconstruct(drawn.to(next(self.decoder.parameters()).dtype))

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        k: int,
        noise: Noise,
        present: Tensor | None = None,
        elements: int = 2**24,
    ) -> Tensor:
        """Estimate log p(x) with k importance samples (a lower bound), nats, [B].

        elements: output elements that may be in memory at once.
        """
        posterior = self.encode(x).posterior
        assert posterior is not None
        chunk = max(1, elements // (len(x) * self.outputs))
        total = x.new_full((len(x),), -math.inf)
        for start in range(0, k, chunk):
            count = min(chunk, k - start)
            z = draw(posterior, count, noise)
            parameters = self.decode(z).unflatten(0, (count, len(x)))
            nll = keep_present(self.likelihood.nll(parameters, x), present)
            log_p = -nll.flatten(2).sum(2)
            weights = log_weights(log_p, z.unflatten(0, (count, len(x))), posterior)
            total = torch.logaddexp(total, weights.logsumexp(0))
        return total - math.log(k)

    def problems(self) -> list[Problem]:
        if self.objective == "elbo" or self.elbo.is_plain:
            return []
        what = "the importance-weighted bound has neither beta nor free bits"
        remedy = "Write model.beta=1 model.free_bits=0, or model.objective=elbo."
        return [Problem(f"model.objective={self.objective}", what, remedy)]


@dataclass(frozen=True)
class ELBO:
    """The negative evidence lower bound, its KL term weighted by beta."""

    beta: Schedule
    free_bits: float
    names = ("reconstruction", "gaussian_kl")

    @property
    def is_plain(self) -> bool:
        """Check whether this is the bound itself, without beta and free bits."""
        return self.free_bits == 0 and set(self.beta.extremes) == {1.0}

    def __call__(
        self, reconstruction: Tensor, posterior: Posterior, clock: Clock, *, training: bool
    ) -> dict[str, Term]:
        """Compute its terms. reconstruction: -log p(x|z), averaged over samples of z and the batch."""
        per_unit = posterior.kl().mean(0)
        if training and self.free_bits:  # without them a mean of means is the mean
            per_unit = average_over_ranks(per_unit)
        kl = per_unit.clamp(min=self.free_bits).sum()
        return {"reconstruction": Term(reconstruction), "gaussian_kl": Term(kl, self.beta(clock))}


def draw(posterior: Posterior, k: int, noise: Noise) -> Tensor:
    """Draw k reparameterised samples for each row, [k * B, m], sample by sample."""
    mean, log_variance = posterior
    # rows first, so that what a row gets does not depend on which rank it is on
    epsilon = noise.normal((len(mean), k, mean.shape[1]), mean.device).transpose(0, 1)
    return (mean + torch.exp(0.5 * log_variance) * epsilon.to(mean.dtype)).flatten(0, 1)


def repeat_rows(x: Tensor, k: int) -> Tensor:
    """Repeat each row k times in the order of `draw`, [k * B, ...]; without a copy for k = 1."""
    return x.expand(k, *x.shape).flatten(0, 1)


def log_weights(log_p: Tensor, z: Tensor, posterior: Posterior) -> Tensor:
    """Compute log p(x|z) + log p(z) - log q(z|x) from log_p [k, B] and samples z [k, B, m]; [k, B]."""
    mean, log_variance = posterior
    # the two normalizing constants, m/2 log 2 pi, cancel
    log_prior = -0.5 * z.square().sum(2)
    log_q = -0.5 * ((z - mean).square() * torch.exp(-log_variance) + log_variance).sum(2)
    return log_p + log_prior - log_q


def importance_weighted_bound(weights: Tensor) -> Tensor:
    """Compute the log of the mean weight over the k samples, [B] from [k, B]."""
    return weights.logsumexp(0) - math.log(len(weights))
