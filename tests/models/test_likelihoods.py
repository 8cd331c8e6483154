from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from aeframe.models.likelihoods import Bernoulli, Gaussian


def test_bernoulli_of_binary_pixels_is_the_log_probability() -> None:
    logits = torch.linspace(-30, 30, 13, dtype=torch.float64)[None]
    x = (torch.arange(13) % 2)[None].double()
    expected = -TorchBernoulli(logits=logits).log_prob(x)
    assert torch.allclose(Bernoulli().nll(logits, x), expected)
    assert torch.allclose(Bernoulli().mean(logits), logits.sigmoid())


@pytest.mark.parametrize("variance", [0.1, 1.0, 4.0])
def test_gaussian_is_the_log_density_with_its_constant(variance: float) -> None:
    mean, x = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    expected = -Normal(mean, math.sqrt(variance)).log_prob(x)
    assert torch.allclose(Gaussian(variance=variance).nll(mean, x), expected, atol=1e-6)


def test_learned_variance_ends_at_the_mean_squared_error() -> None:
    likelihood = Gaussian(variance="learned")
    mean, x = torch.zeros(100, 20), torch.randn(100, 20) * 0.3
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        likelihood.nll(mean, x).sum(1).mean().backward()
        optimizer.step()
    assert likelihood.log_variance.exp().item() == pytest.approx(x.square().mean().item(), rel=1e-2)


def test_given_variance_is_not_trained() -> None:
    assert [p.requires_grad for p in Gaussian(variance=0.5).parameters()] == [False]


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian()])
def test_initial_output_has_the_wanted_mean(likelihood: Bernoulli | Gaussian) -> None:
    mean = torch.tensor([0.01, 0.4, 0.9])
    assert torch.allclose(likelihood.mean(likelihood.initial_output(mean)), mean, atol=1e-6)
    assert torch.isfinite(likelihood.initial_output(torch.tensor([0.0, 1.0]))).all()


def test_a_variance_beyond_its_limits_finds_back() -> None:
    likelihood = Gaussian(variance="learned")
    with torch.no_grad():
        likelihood.log_variance.fill_(-20.0)
    likelihood.nll(torch.zeros(3), torch.full((3,), 10.0)).sum().backward()
    assert likelihood.log_variance.grad is not None
    assert likelihood.log_variance.grad < 0  # a step against it widens
