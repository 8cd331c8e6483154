from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import (
    Autoencoder,
    Denoising,
    Posterior,
    Setting,
    Sparse,
    Undercomplete,
    Variational,
)
from aeframe.models.likelihoods import Bernoulli, Gaussian
from aeframe.models.variational import (
    draw,
    importance_weighted_bound,
    log_weights,
)
from aeframe.networks import MLP


def make(
    cls: type[Autoencoder], latent_dim: int = 3, widths: tuple[int, ...] = (), **options: Any
) -> Any:
    torch.manual_seed(0)
    network = MLP(widths=list(widths), activation="tanh")
    likelihood = options.pop("likelihood", Gaussian())
    return cls(Setting(network, likelihood, (6,)), latent_dim=latent_dim, **options)


@pytest.mark.parametrize("cls", [Undercomplete, Denoising, Sparse, Variational])
def test_encode_without_noise_is_deterministic_and_decodes(cls: type[Autoencoder]) -> None:
    model, x = make(cls), torch.randn(4, 6)
    assert torch.equal(model.encode(x).value, model.encode(x).value)
    assert model.encode(x).value.shape == (4, 3)
    assert model.reconstruct(model.encode(x).value).shape == x.shape


def test_the_reconstruction_term_is_nats_per_sample() -> None:
    model, x = make(Undercomplete), torch.randn(4, 6)
    code = model.encode(x)
    parameters = model.decode(code.value)
    density = -Normal(parameters, 1.0).log_prob(x).sum(1).mean()
    expected = density - 6 * 0.5 * math.log(2 * math.pi)  # without the constant
    term = model.terms(x, code, parameters, None, Clock())["reconstruction"]
    assert term.value.item() == pytest.approx(expected.item(), rel=1e-6)
    doubled = model.terms(x, code, parameters, torch.full_like(x, 2.0), Clock())["reconstruction"]
    assert doubled.value.item() == pytest.approx(2 * expected.item(), rel=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_sparse_codes_are_rectified_and_start_tied_with_small_columns(tied: bool) -> None:
    model = Sparse(Setting(MLP(widths=[], tied=tied), Gaussian(), (6,)), latent_dim=9)
    assert (model.encode(torch.randn(5, 6)).value >= 0).all()
    columns = model.decoder.dictionary
    assert torch.allclose(columns.norm(dim=0), torch.full((9,), 0.5))
    assert not model.writes_code.bias.any()
    assert torch.equal(model.writes_code.weight, columns.t())


def test_kl_is_the_closed_form_and_zero_at_the_prior() -> None:
    posterior = Posterior(torch.randn(5, 3).double(), torch.randn(5, 3).double())
    normal = Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    expected = kl_divergence(normal, Normal(torch.zeros(5, 3).double(), 1.0))
    assert torch.allclose(posterior.kl(), expected)
    assert Posterior(torch.zeros(1, 2), torch.zeros(1, 2)).kl().sum() == 0


def test_draws_have_the_posteriors_moments_and_carry_gradient() -> None:
    mean = torch.tensor([[1.0, -2.0]]).requires_grad_()
    log_variance = torch.log(torch.tensor([[0.25, 4.0]])).requires_grad_()
    z = draw(Posterior(mean, log_variance), 20_000, Noise("draw"))
    assert torch.allclose(z.mean(0), mean[0], atol=0.06)
    assert torch.allclose(z.var(0), log_variance.exp()[0], rtol=0.05)
    z.sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.full((1, 2), 20_000.0))
    assert log_variance.grad is not None


def test_elbo_terms_and_beta() -> None:
    model = make(Variational, beta={"schedule": "linear", "start": 0, "end": 2, "epochs": 4})
    x = torch.randn(4, 6)
    code = model.encode(x, Noise("z"))
    terms = model.terms(x, code, model.decode(code.value), None, Clock(10, 1.0))
    assert terms["gaussian_kl"].value.item() == pytest.approx(
        code.posterior.kl().sum(1).mean().item(), rel=1e-6
    )
    assert terms["gaussian_kl"].weight == 0.5


def test_free_bits_hold_each_unit_at_a_floor() -> None:
    x = torch.randn(8, 6)
    model = make(Variational, free_bits=100.0)
    code = model.encode(x, Noise("z"))
    term = model.terms(x, code, model.decode(code.value), None, Clock())["gaussian_kl"]
    assert term.value.item() == 300.0
    term.value.backward()
    assert (model.writes_code.weight.grad == 0).all()  # below the floor nothing pulls


def _linear_gaussian(**options: Any) -> tuple[Variational, Tensor, Tensor]:
    """A decoder x = W z + b + N(0, 1), of which log p(x) is known: N(x; b, W W^T + I).

    The posterior is the prior, so that the importance weights are bounded.
    """
    model = make(Variational, latent_dim=2, **options)
    with torch.no_grad():
        model.writes_code.weight.zero_()
        model.writes_code.bias.zero_()
    weight, bias = model.decoder.dictionary.detach(), model.decoder.output_bias.detach()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    covariance = weight @ weight.t() + torch.eye(6)
    exact = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    return model, x, exact


def test_importance_sampling_finds_the_exact_likelihood_of_a_linear_gaussian_model() -> None:
    model, x, exact = _linear_gaussian()
    few = model.log_likelihood(x, 1, Noise("a"))
    many = model.log_likelihood(x, 20_000, Noise("b"))
    assert torch.allclose(many, exact, atol=0.05)
    assert (few.mean() < exact.mean()).item()


def test_the_likelihood_does_not_depend_on_how_it_is_chunked() -> None:
    model, x, _ = _linear_gaussian()
    whole = model.log_likelihood(x, 64, Noise("c"))
    small = model.log_likelihood(x, 64, Noise("c"), elements=1)
    assert torch.allclose(whole, small, atol=0.5)
    assert small.shape == (5,)


def test_the_importance_weighted_objective_is_the_bound_and_tightens() -> None:
    _model, x, exact = _linear_gaussian()
    bounds = []
    for k in (1, 10, 500):
        trained, _, _ = _linear_gaussian(k=k, objective="importance_weighted")
        code = trained.encode(x, Noise("d"))
        assert code.value.shape == (k * 5, 2)
        terms = trained.terms(x, code, trained.decode(code.value), None, Clock())
        bounds.append(-terms["negative_importance_weighted_bound"].value.item())
    assert bounds[0] < bounds[1] < bounds[2] + 1e-3
    assert bounds[2] == pytest.approx(exact.mean().item(), abs=0.1)


def test_log_weights_against_torch_distributions() -> None:
    posterior = Posterior(torch.randn(4, 3), torch.randn(4, 3))
    z, log_p = torch.randn(7, 4, 3), torch.randn(7, 4)
    q = Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    expected = log_p + Normal(0.0, 1.0).log_prob(z).sum(2) - q.log_prob(z).sum(2)
    assert torch.allclose(log_weights(log_p, z, posterior), expected, atol=1e-4)
    bound = importance_weighted_bound(expected)
    assert torch.allclose(bound, expected.exp().mean(0).log(), atol=1e-4)


def test_one_sample_of_either_objective_has_the_same_expectation() -> None:
    x = torch.randn(3, 6)
    elbo, bound = make(Variational, k=4000), make(Variational, k=1, objective="importance_weighted")
    code = elbo.encode(x, Noise("e"))
    terms = elbo.terms(x, code, elbo.decode(code.value), None, Clock())
    total = sum(t.value.item() for t in terms.values())
    samples = []
    for i in range(2000):
        code = bound.encode(x, Noise("f", i))
        terms = bound.terms(x, code, bound.decode(code.value), None, Clock())
        samples.append(terms["negative_importance_weighted_bound"].value.item())
    error = 4 * torch.tensor(samples).std().item() / math.sqrt(2000)
    assert sum(samples) / 2000 == pytest.approx(total, abs=error + 0.02)


def test_sampling_from_the_prior() -> None:
    model = make(Variational, likelihood=Bernoulli())
    images = model.sample(10, Noise("s"))
    assert images.shape == (10, 6)
    assert ((images > 0) & (images < 1)).all()
    assert torch.equal(images, model.sample(10, Noise("s")))


@pytest.mark.parametrize(
    ("cls", "options", "where"),
    [
        (Undercomplete, {"latent_dim": 6}, "model.latent_dim=6"),
        (Undercomplete, {"latent_dim": 3, "widths": (4, 5)}, "network.widths"),
        (Undercomplete, {"latent_dim": 3, "widths": (3,)}, "network.widths"),
        (Sparse, {"latent_dim": 6}, "model.latent_dim=6"),
        (
            Variational,
            {"objective": "importance_weighted", "beta": 0.5},
            "model.objective=importance_weighted",
        ),
        (
            Variational,
            {"objective": "importance_weighted", "free_bits": 0.5},
            "model.objective=importance_weighted",
        ),
    ],
)
def test_sizes_that_do_not_fit_the_variant(
    cls: type[Autoencoder], options: dict[str, Any], where: str
) -> None:
    assert [p.where for p in make(cls, **options).problems()] == [where]


def test_the_size_rules_can_be_lifted() -> None:
    assert make(Undercomplete, latent_dim=9, allow_overcomplete=True).problems() == []
    assert make(Sparse, latent_dim=2, allow_undercomplete=True).problems() == []
    assert make(Undercomplete, latent_dim=2, widths=(5, 4)).problems() == []
    assert make(Sparse, latent_dim=7).problems() == []


def test_a_sparse_encoder_sees_the_data_less_its_mean() -> None:
    """Else all units turn towards that mean, and a bright sample activates nearly all of them."""
    model, x = make(Sparse, 10), torch.rand(5, 6)
    model.start_at(x.mean(0))
    torch.testing.assert_close(model.encode(x).pre, model.encoder(x - x.mean(0)))
    assert "centre" in model.state_dict()  # and it travels with the weights
