"""The mixed likelihood of tables against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit, log_softmax, logsumexp, softmax
from torch import Tensor

import aeframe
from aeframe.core.errors import ConfigError, UserError
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.data import Array, Column, Schema
from aeframe.models import Setting, Variational
from aeframe.models.mixed import Mixed
from aeframe.networks import MLP
from aeframe.training.build import build

COLUMNS = Schema(
    (
        Column("length", "numeric"),
        Column("species", "categorical", ("a", "b", "c")),
        Column("wild", "boolean", ("False", "True")),
        Column("eggs", "count", integer=True),
        Column("seen", "date"),
        Column("sex", "categorical", ("f", "m")),
    )
)
NUMERIC, SPECIES, WILD, EGGS, SEEN, SEX = COLUMNS.slices
SCALE = torch.tensor([1, 1, 1, 1, 1, 2.5, 1, 1, 1], dtype=torch.float64)


def make_mixed(variance: Any = 1.0) -> Mixed:
    likelihood = Mixed(variance=variance)
    likelihood.fit_columns(COLUMNS)
    likelihood.take_scale(SCALE.float())
    return likelihood.double()


def make_rows(n: int, seed: int = 0) -> Tensor:
    """Make rows of the table in stored units, [n, 9], whose columns depend on each other."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=n)
    x = np.zeros((n, 9))
    x[:, 0] = z + 0.3 * generator.normal(size=n)
    x[np.arange(n), 1 + (z > -0.5).astype(int) + (z > 0.5)] = 1
    x[:, 4] = z + 0.5 * generator.normal(size=n) > 0
    x[:, 5] = generator.poisson(np.exp(1 + 0.5 * z))
    x[:, 6] = 20 * z + generator.normal(size=n)
    x[np.arange(n), 7 + (generator.random(n) < 0.4)] = 1
    return torch.from_numpy(x)


def compute_nll(output: np.ndarray, x: np.ndarray, variance: float = 1.0) -> np.ndarray:
    """Compute -log p of normalized rows [N, 9] by SciPy, [N]."""
    deviation = math.sqrt(variance)
    found = -stats.norm.logpdf(x[:, NUMERIC], output[:, NUMERIC], deviation).sum(1)
    found -= stats.norm.logpdf(x[:, SEEN], output[:, SEEN], deviation).sum(1)
    found -= stats.bernoulli.logpmf(x[:, WILD], expit(output[:, WILD])).sum(1)
    counts = np.round(x[:, EGGS] * 2.5)
    found -= stats.poisson.logpmf(counts, np.log1p(np.exp(output[:, EGGS])) * 2.5).sum(1)
    for place in (SPECIES, SEX):
        found -= (x[:, place] * log_softmax(output[:, place], axis=1)).sum(1)
    return found


@pytest.mark.parametrize("variance", [1.0, 0.2])
def test_each_column_has_the_density_of_its_kind(variance: float) -> None:
    x = make_rows(40) / SCALE
    output = torch.randn(40, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    likelihood = make_mixed(variance)
    nll = likelihood.nll(output, x)
    assert nll.shape == (40, 9)
    wanted = compute_nll(output.numpy(), x.numpy(), variance)
    np.testing.assert_allclose(nll.sum(1).numpy(), wanted, rtol=1e-9)
    # the loss goes without the constant of the columns of numbers
    constant = 0.5 * math.log(2 * math.pi * variance)
    assert likelihood.sum_constant(x) == pytest.approx(2 * constant)
    loss = likelihood.loss(output, x).item()
    np.testing.assert_allclose(loss, wanted.mean() - 2 * constant, rtol=1e-9)
    weight = (torch.arange(9) < 4).double().expand(40, 9)
    left_out = likelihood.sum_constant(x, weight)
    assert likelihood.loss(output, x, weight).item() + left_out == pytest.approx(
        float(nll[:, :4].sum(1).mean())
    )
    several = likelihood.nll(output.expand(3, 40, 9), x)
    assert torch.equal(several[2], nll)


def test_its_gradient_is_that_of_its_values() -> None:
    x = make_rows(4) / SCALE
    output = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    likelihood = make_mixed(0.5)
    assert torch.autograd.gradcheck(lambda o: likelihood.loss(o, x), output.requires_grad_())
    assert torch.autograd.gradcheck(lambda o: likelihood.mean(o).square().sum(), output)


def test_extreme_outputs_stay_finite() -> None:
    x = make_rows(6) / SCALE
    output = torch.full((6, 9), 300.0).float()
    output[::2] = -300.0
    output.requires_grad_()
    likelihood = make_mixed().float()
    loss = likelihood.loss(output, x.float())
    loss.backward()
    assert bool(loss.isfinite())
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())


def test_the_mean_is_of_each_distribution_in_normalized_units() -> None:
    output = torch.randn(7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = make_mixed().mean(output).numpy()
    raw = output.numpy()
    for place in (NUMERIC, SEEN):
        assert np.array_equal(found[:, place], raw[:, place])
    np.testing.assert_allclose(found[:, WILD], expit(raw[:, WILD]))
    np.testing.assert_allclose(found[:, EGGS], np.log1p(np.exp(raw[:, EGGS])))
    for place in (SPECIES, SEX):
        np.testing.assert_allclose(found[:, place], softmax(raw[:, place], axis=1))


def test_the_first_output_has_the_training_mean() -> None:
    mean = (make_rows(200) / SCALE).mean(0)
    likelihood = make_mixed()
    output = likelihood.initial_output(mean)
    torch.testing.assert_close(likelihood.mean(output), mean, rtol=1e-6, atol=1e-6)
    output.requires_grad_()
    moved = torch.autograd.functional.jacobian(likelihood.mean, output)
    steep = likelihood.slope(mean)
    # the slope of a category's own logit, with the others held
    wanted = moved.diagonal()
    for place in (NUMERIC, WILD, EGGS, SEEN):
        torch.testing.assert_close(1 / steep[place], wanted[place], rtol=1e-5, atol=1e-6)
    assert bool((steep <= 10).all())


def test_an_optimal_variance_is_the_error_of_its_own_column() -> None:
    x = make_rows(500) / SCALE
    x[:, 6] /= 20
    likelihood = make_mixed("optimal")
    output = torch.zeros(500, 9, dtype=torch.float64)
    weight = torch.ones_like(x)
    weight[:250, 0] = 0
    for _ in range(200):
        likelihood.loss(output, x, weight)
    wanted = [x[250:, 0].square().mean(), x[:, 6].square().mean()]
    torch.testing.assert_close(likelihood.log_variance.exp(), torch.stack(wanted))
    likelihood.loss(output, x, torch.zeros_like(x))  # a batch without a value
    torch.testing.assert_close(likelihood.log_variance.exp(), torch.stack(wanted))
    likelihood.eval().loss(output + 5, x)
    torch.testing.assert_close(likelihood.log_variance.exp(), torch.stack(wanted))


def test_auto_is_optimal_for_a_code_that_is_drawn() -> None:
    assert Mixed().suited(stochastic=True).variance == "optimal"
    assert Mixed().suited(stochastic=False).variance == 1.0
    assert Mixed(variance=0.3).suited(stochastic=True).variance == 0.3


# with a variational model


def make_variational() -> tuple[Variational, Tensor]:
    torch.manual_seed(0)
    setting = Setting(MLP(widths=[5]), Mixed(variance=0.5), (9,), COLUMNS)
    model = Variational(setting, latent_dim=1).double()
    model.likelihood.take_scale(SCALE)
    x = make_rows(5) / SCALE
    x[:, 6] /= 20
    return model, x


def test_the_bound_and_the_likelihood_are_those_of_brute_force() -> None:
    """The integral over the only code unit, on a fine grid."""
    model, x = make_variational()
    with torch.no_grad():
        grid = torch.linspace(-9, 9, 6001, dtype=torch.float64)
        outputs = model.decode(grid[:, None])
        log_p = np.stack(
            [-compute_nll(outputs.numpy(), x[i].expand(6001, 9).numpy(), 0.5) for i in range(5)]
        )
        width = float(grid[1] - grid[0])
        prior = stats.norm.logpdf(grid.numpy())
        exact = logsumexp(log_p + prior, axis=1) + math.log(width)
        estimated = model.log_likelihood(x, 40_000, Noise("brute force"))
        np.testing.assert_allclose(estimated.numpy(), exact, atol=0.05)

        posterior = model.encode(x).posterior
        assert posterior is not None
        q = stats.norm.pdf(
            grid.numpy(),
            posterior.mean.numpy(),
            np.exp(0.5 * posterior.log_variance.numpy()),
        )
        wanted = -(q * log_p).sum(1).mean() * width + float(posterior.kl().sum(1).mean())
        model.k = 4000
        code = model.encode(x, Noise("bound"))
        terms = model.terms(x, code, model.decode(code.value), None, Clock())
        found = sum(float(term.weighted) for term in terms.values())
        assert found == pytest.approx(wanted, abs=0.1)


# in a run


@pytest.fixture
def arrays_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are tables of these columns, with gaps."""
    load = Array.load
    table = {"gaps": True, "columns": COLUMNS}
    monkeypatch.setattr(Array, "load", lambda self: replace(load(self), **table))


WORDS = (
    *("likelihood=mixed", "model.latent_dim=3", "network.widths=[16]", "optimizer.lr=0.003"),
    *("trainer.max_epochs=12", "dataset.batch_size=16", "dashboard.images=2"),
)


def make_table(rows: int) -> np.ndarray:
    x = make_rows(rows).float()
    chosen = torch.rand(rows, 6, generator=torch.Generator().manual_seed(4)) < 0.15
    for i, place in enumerate(COLUMNS.slices):
        x[chosen[:, i], place] = torch.nan
    return x.numpy()


@pytest.mark.usefixtures("arrays_are_tables")
@pytest.mark.parametrize("kind", ["standard", "rank"])
def test_a_table_is_trained_saved_loaded_and_filled(tmp_path: Path, kind: str) -> None:
    x = make_table(300)
    words = [*WORDS, f"dataset.normalization={'auto' if kind == 'standard' else kind}"]
    if kind == "rank":
        words += ["model=denoising", "constraint=swap_noise"]
    run = aeframe.train(words, data=x, folder=tmp_path / "run")
    assert run.config["dataset"]["normalization"] == kind
    model = aeframe.load(tmp_path / "run")
    assert model.description.data.columns == COLUMNS
    normalization = model.net.normalization
    untouched = [1, 2, 3, 4, 7, 8]
    assert normalization.shift[[*untouched, 5]].tolist() == [0.0] * 7
    assert normalization.scale[untouched].tolist() == [1.0] * 6
    assert isinstance(model.net.model.likelihood, Mixed)
    assert torch.equal(model.net.model.likelihood.unit, normalization.scale[5:6])
    filled = model.reconstruct(x)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[:, SPECIES].sum(1), 1, rtol=1e-5)
    gaps = np.isnan(x)
    whole = make_rows(300).numpy()
    for place in (slice(0, 1), slice(6, 7)):  # columns that follow from others
        chosen = gaps[:, place]
        about = (np.nanmean(x[:, place], 0) - whole[:, place])[chosen]
        error = (filled[:, place] - whole[:, place])[chosen]
        assert np.square(error).mean() < 0.6 * np.square(about).mean()
    again = model.encode(x)
    assert np.array_equal(again, run.model.encode(x))


@pytest.mark.usefixtures("arrays_are_tables")
def test_one_scale_for_all_columns_is_refused(tmp_path: Path, compose: Callable[..., Any]) -> None:
    np.save(tmp_path / "x.npy", make_table(60))
    words = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "likelihood=mixed")
    with pytest.raises(ConfigError) as caught:
        build(compose(*words, "model.latent_dim=3", "dataset.normalization=rms"))
    assert str(caught.value) == (
        "dataset.normalization=rms: gives all columns one scale, but likelihood=mixed needs one for "
        "each. Write dataset.normalization=standard, or likelihood=gaussian."
    )
    built = build(compose("model=variational", "constraint.bottleneck.size=2", *words))
    assert built.net.model.likelihood.describe() == (
        "Mixed: 1 numeric and 1 date (Gaussian, optimal variance), 1 boolean (Bernoulli), "
        "2 categorical (softmax), 1 count (Poisson)"
    )


def test_data_without_columns_is_refused(compose: Callable[..., Any]) -> None:
    with pytest.raises(UserError) as caught:
        build(compose("likelihood=mixed"))
    assert str(caught.value) == (
        "likelihood=mixed: needs the columns of a table. Write dataset=table, or likelihood=gaussian."
    )
