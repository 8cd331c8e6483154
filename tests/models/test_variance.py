"""A Gaussian likelihood's variance: in closed form, and from the data's on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.distributions import MultivariateNormal

from aeframe.config.node import to_plain
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import Setting, Undercomplete, Variational
from aeframe.models.likelihoods import Gaussian
from aeframe.networks import MLP
from aeframe.runs.saved_network import build_saved_net
from aeframe.training.build import build
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
OPTIMAL = ("model=variational", "likelihood=gaussian")


def of(likelihood: Gaussian) -> float:
    return likelihood.log_variance.exp().item()


def principal_components() -> tuple[Variational, Tensor, float, float]:
    """A linear model at the maximum likelihood of probabilistic PCA (Tipping & Bishop 1999), its data, the
    data's -log p(x), and its variance: the mean of the eigenvalues that are left out.
    """
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 6, generator=generator) * torch.tensor([[3.0], [2.0], [0.7]])
    x = torch.randn(500, 3, generator=generator) @ mixing
    x += 0.5 * torch.randn(500, 6, generator=generator) + 1
    values, vectors = torch.linalg.eigh((x - x.mean(0)).t().cov(correction=0))
    variance = values[:4].mean().item()
    weight = vectors[:, 4:] * (values[4:] - variance).sqrt()
    within = weight.square().sum(0) + variance  # W^T W + variance I, which is diagonal
    network = Setting(MLP(widths=[]), Gaussian(variance=variance), (6,))
    model = Variational(network, latent_dim=2, k=400)
    with torch.no_grad():
        model.decoder.dictionary.copy_(weight)
        model.decoder.output_bias.copy_(x.mean(0))
        model.writes_code.weight.zero_()[:2].copy_(weight.t() / within[:, None])
        model.writes_code.bias[:2] = -model.writes_code.weight[:2] @ x.mean(0)
        model.writes_code.bias[2:] = (variance / within).log()
    covariance = weight @ weight.t() + variance * torch.eye(6)
    exact = -MultivariateNormal(x.mean(0), covariance).log_prob(x).mean().item()
    return model, x, exact, variance


def test_the_bound_is_the_likelihood_of_probabilistic_pca() -> None:
    """The encoder gives the exact posterior, so that no gap is left."""
    model, x, exact, _ = principal_components()
    code = model.encode(x, Noise("elbo"))
    terms = model.terms(x, code, model.decode(code.value), None, Clock())
    found = sum(term.value.item() for term in terms.values())
    assert found == pytest.approx(exact, abs=5e-3)


@pytest.mark.parametrize("objective", ["elbo", "importance_weighted"])
def test_the_optimal_variance_is_that_of_probabilistic_pca(objective: str) -> None:
    model, x, _, variance = principal_components()
    model.likelihood, model.objective = Gaussian(variance="optimal"), objective
    model.k = 30
    for step in range(60):
        code = model.encode(x, Noise(step))
        model.terms(x, code, model.decode(code.value), None, Clock())
    # half of it comes from the codes' spread, which is that of the posterior
    assert of(model.likelihood) == pytest.approx(variance, rel=0.01)


def test_the_optimum_heeds_the_weights_of_elements() -> None:
    likelihood, x = Gaussian(variance="optimal"), torch.randn(64, 5)
    weight = torch.rand(64, 5)
    for _ in range(200):
        likelihood.loss(torch.zeros(64, 5), x, weight)
    best = (weight * x.square()).sum() / weight.sum()
    assert of(likelihood) == pytest.approx(best.item(), rel=1e-5)
    before = of(likelihood)
    likelihood.eval().loss(torch.ones(64, 5), x)  # outside training it stays
    assert of(likelihood) == before


def test_both_bounds_heed_the_weights_of_elements() -> None:
    """Both bounds are the same with one sample."""
    model, x, *_ = principal_components()
    model.k = 1
    code, weight, found = model.encode(x, Noise("elbo")), torch.rand_like(x), []
    for objective in ("elbo", "importance_weighted"):
        model.likelihood, model.objective = Gaussian(variance="optimal"), objective
        model.terms(x, code, model.decode(code.value), weight, Clock())
        found.append(of(model.likelihood))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_an_error_of_nothing_leaves_a_finite_variance() -> None:
    likelihood, x = Gaussian(variance="optimal"), torch.zeros(4, 5)
    for _ in range(300):
        loss = likelihood.loss(x, x)
    assert math.isfinite(loss.item())
    assert math.isfinite(likelihood.log_variance.item())


@pytest.mark.parametrize(("cls", "taken"), [(Variational, "optimal"), (Undercomplete, 1.0)])
def test_auto_is_what_the_variant_needs(cls: type[Variational], taken: str | float) -> None:
    for chosen in ("auto", "learned", 0.3):
        made = cls(Setting(MLP(widths=[]), Gaussian(variance=chosen), (6,)), latent_dim=2)
        assert made.likelihood.variance == (taken if chosen == "auto" else chosen)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (OPTIMAL, "Gaussian, optimal variance"),
        (("likelihood.variance=learned",), "Gaussian, learned variance"),
        ((), "Gaussian, variance 1"),
        (("model=variational",), "Bernoulli"),
    ],
)
def test_a_variance_starts_at_the_datas(
    compose: Compose, words: tuple[str, ...], told: str
) -> None:
    built = build(compose(*words))
    likelihood = built.net.model.likelihood
    assert likelihood.describe() == told
    if "variance" in told and "1" not in told:
        x = built.data.peek("train", 2048)
        assert of(likelihood) == pytest.approx((x - x.mean(0)).square().mean().item(), rel=0.02)


def test_a_run_from_before_keeps_its_variance(compose: Compose) -> None:
    """An older configuration has the number, or lacks the key."""
    for words, fixed in ((("likelihood.variance=1.0",), 1.0), (("~likelihood.variance",), 1.0)):
        cfg = compose(*OPTIMAL, *words)
        likelihood = build(cfg).net.model.likelihood
        assert (likelihood.variance, likelihood.fixed) == (fixed, fixed)
    spec = build(cfg).data.spec
    learned = build_saved_net(to_plain(compose(*OPTIMAL, "likelihood.variance=learned")), spec)
    optimal = build_saved_net(to_plain(compose(*OPTIMAL)), spec)
    assert learned.state_dict().keys() == optimal.state_dict().keys()


def test_by_default_no_unit_of_a_gaussian_model_collapses(compose: Compose, tmp_path: Path) -> None:
    found = {}
    for variance in ("auto", "1.0"):
        built = build(
            compose(
                *OPTIMAL,
                f"likelihood.variance={variance}",
                "network.widths=[32]",
                "trainer.max_epochs=4",
            )
        )
        trainer, _ = fit(built, tmp_path)
        found[variance] = trainer.callback_metrics
    assert found["auto"]["val/active_units"] >= 8
    assert found["1.0"]["val/active_units"] == 0
    assert found["auto"]["val/negative_elbo"] < found["1.0"]["val/negative_elbo"] - 50


def test_after_a_few_steps_the_bound_is_that_of_the_errors_best_variance(
    compose: Compose, tmp_path: Path
) -> None:
    """Images of one color each, with some noise: 192 numbers, whose error falls fast."""
    generator = np.random.default_rng(0)
    colors = generator.normal(size=(600, 3, 1, 1)) + 0.1 * generator.normal(size=(600, 3, 8, 8))
    np.save(tmp_path / "x.npy", (40 * colors + 128).clip(0, 255).astype(np.uint8))
    built = build(
        compose(
            *(*OPTIMAL, "dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "optimizer.lr=5e-3"),
            *("dataset.batch_size=16", "trainer.max_epochs=4", "model.latent_dim=12"),
            "network.widths=[64]",
        )
    )
    before = of(built.net.model.likelihood)
    trainer, _ = fit(built, tmp_path)
    m = {name: value.item() for name, value in trainer.callback_metrics.items()}
    variance = of(built.net.model.likelihood)
    assert (
        variance < before / 5
    )  # Adam moves a weight's logarithm by 120 x 5e-3 at the most, to half
    nll = m["val/negative_elbo"] - m["val/kl"]
    error = (2 * nll / 192 - math.log(2 * math.pi * variance)) * variance
    best = 96 * (math.log(2 * math.pi * error) + 1) + m["val/kl"]
    assert m["val/negative_elbo"] == pytest.approx(best, abs=2.0)
    assert m["val/negative_elbo"] < 0
