"""Networks that start as principal component analysis, beside scikit-learn and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import Setting, Undercomplete, Variational
from aeframe.models.likelihoods import Gaussian
from aeframe.models.principal import find_components
from aeframe.networks import MLP, Automatic, Conv, Network

NETWORKS = [
    MLP(widths=[], start="pca"),
    MLP(widths=[9], start="pca"),
    MLP(widths=[9, 7], norm="batch", start="pca"),
    Conv(widths=[], start="pca"),
    Conv(widths=[3, 4], start="pca"),
    Automatic(widths=[5], start="pca"),
]


def images(count: int = 60, shape: tuple[int, ...] = (2, 5, 6)) -> torch.Tensor:
    """Random images of low rank with different means."""
    generator = torch.Generator().manual_seed(1)
    size = math.prod(shape)
    factors = torch.randn(count, 8, generator=generator) * torch.linspace(3, 0.2, 8)
    x = factors @ torch.randn(8, size, generator=generator)
    return (x + torch.linspace(-4, 9, size)).view(count, *shape)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{type(n).__name__}{n.widths}")
def test_the_first_reconstruction_is_that_of_scikit_learns_pca(network: Network) -> None:
    x = images()
    model = Undercomplete(Setting(network, Gaussian(), tuple(x.shape[1:])), latent_dim=4)
    model.start_at(x.mean(0))
    model.start_as_pca(x)
    model.eval()
    with torch.no_grad():
        code = model.encode(x).value
        found = model.reconstruct(code).flatten(1).numpy()
    flat = x.flatten(1).numpy().astype(np.float64)
    pca = PCA(4, svd_solver="full").fit(flat)
    np.testing.assert_allclose(found, pca.inverse_transform(pca.transform(flat)), atol=2e-3)
    assert torch.allclose(code.var(0), torch.ones(4), atol=1e-3)
    assert torch.allclose(code.mean(0), torch.zeros(4), atol=1e-3)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{type(n).__name__}{n.widths}")
def test_every_weight_moves_within_two_steps(network: Network) -> None:
    x = images()
    model = Undercomplete(Setting(network, Gaussian(), tuple(x.shape[1:])), latent_dim=4)
    model.start_as_pca(x)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        code = model.encode(x)
        model.terms(x, code, model.decode(code.value), None, Clock(0, 0))[
            "reconstruction"
        ].value.backward()
        optimizer.step()
    still = [n for n, w in model.named_parameters() if w.requires_grad and w.equal(before[n])]
    # a convolution's bias before batch norm, and the likelihood's fixed variance, have no gradient
    assert [n for n in still if "norm" not in n and network.norm == "none"] == []


def test_a_variational_model_starts_as_probabilistic_pca() -> None:
    """Its bound is then the exact log-likelihood of probabilistic PCA (Tipping & Bishop 1999)."""
    x = images(400, (12,)) + 0.5 * torch.randn(400, 12, generator=torch.Generator().manual_seed(3))
    pca = PCA(3, svd_solver="full").fit(x.double().numpy())
    found = find_components(x, 3)
    assert float(found.rest) == pytest.approx(pca.noise_variance_, rel=1e-4)
    gaussian = Gaussian(variance=float(found.rest))
    model = Variational(Setting(MLP(widths=[6], start="pca"), gaussian, (12,)), latent_dim=3)
    model.start_as_pca(x)
    model.eval()
    with torch.no_grad():
        code = model.encode(x, Noise(0, "test", 0))
        terms = model.terms(x, code, model.decode(code.value), None, Clock(0, 0))
        exact = model.log_likelihood(x[:50], 2000, Noise(0, "test", 1)).mean()
    bound = -sum(float(term.value) for term in terms.values())
    assert bound == pytest.approx(pca.score(x.double().numpy()), abs=0.15)  # one draw for each
    assert float(exact) == pytest.approx(pca.score(x[:50].double().numpy()), abs=0.02)


@settings(max_examples=30)
@given(
    rows=st.integers(2, 40),
    columns=st.integers(1, 30),
    count=st.integers(1, 35),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_components_are_orthonormal_and_explain_what_scikit_learns_do(
    rows: int, columns: int, count: int, scale: float
) -> None:
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) * scale
    found = find_components(x, count)
    size = min(count, rows - 1, columns)
    assert found.axes.shape == (size, columns)
    assert torch.allclose(found.axes @ found.axes.t(), torch.eye(size), atol=1e-4)
    pca = PCA(size, svd_solver="full").fit(x.double().numpy())
    np.testing.assert_allclose(
        found.variances.numpy(), pca.explained_variance_, rtol=1e-3, atol=1e-6 * scale**2
    )


def test_the_randomized_method_finds_the_same_axes() -> None:
    torch.manual_seed(0)
    x = images(3000, (1500,))
    found = find_components(x, 5)  # more elements than the exact method takes
    pca = PCA(5, svd_solver="randomized", random_state=0).fit(x.numpy())
    overlaps = (found.axes.numpy() * pca.components_).sum(1)
    np.testing.assert_allclose(abs(overlaps), 1, atol=1e-3)


def test_fewer_samples_than_units_leave_the_others_random() -> None:
    x = images(3)
    network = MLP(widths=[5], start="pca")
    model = Undercomplete(Setting(network, Gaussian(), tuple(x.shape[1:])), latent_dim=10)
    model.start_at(x.mean(0))
    model.start_as_pca(x)
    with torch.no_grad():
        assert torch.allclose(model.reconstruct(model.encode(x).value), x, atol=1e-3)
        assert (model.writes_code.weight[2:].norm(dim=1) > 0).all()
