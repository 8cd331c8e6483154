"""Regularization: against closed forms, autograd's Jacobian and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aeframe.constraints import L1, L2, Contractive, KLSparsity, Orthogonal, Sigmoid, Step
from aeframe.constraints.penalty import compute_rate_kl
from aeframe.core.noise import Noise
from aeframe.models import Undercomplete
from tests.support.constraint_tools import NOW, code, data, model, seen

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def bernoulli_kl(rho: float, rate: float) -> float:
    return rho * math.log(rho / rate) + (1 - rho) * math.log((1 - rho) / (1 - rate))


@given(rho=st.floats(0.01, 0.99), rates=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5))
def test_kl_has_both_bernoulli_terms(rho: float, rates: list[float]) -> None:
    expected = sum(bernoulli_kl(rho, rate) for rate in rates)
    assert compute_rate_kl(rho, torch.tensor(rates, dtype=torch.float64)).item() == pytest.approx(
        expected, abs=1e-9
    )


@given(rho=st.floats(0.01, 0.99))
def test_kl_is_zero_only_at_rho_and_never_negative(rho: float) -> None:
    assert compute_rate_kl(rho, torch.tensor([rho], dtype=torch.float64)).item() == pytest.approx(
        0, abs=1e-12
    )
    assert compute_rate_kl(rho, torch.tensor([rho * 0.5], dtype=torch.float64)).item() > 0


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_kl_and_its_gradient_are_finite_at_the_ends(rate: float) -> None:
    rates = torch.full((3,), rate, requires_grad=True)
    value = compute_rate_kl(0.05, rates)
    value.backward()
    assert torch.isfinite(value)
    assert rates.grad is not None
    assert torch.isfinite(rates.grad).all()


def test_kl_takes_the_mean_over_the_batch_before_the_divergence() -> None:
    part, autoencoder = KLSparsity(weight=1.0, rho=0.1), model()
    found = part.penalty(seen(part, autoencoder, X)).item()
    units = autoencoder.encode(X).pre.sigmoid()
    assert found == pytest.approx(sum(bernoulli_kl(0.1, r.item()) for r in units.mean(0)), rel=1e-5)
    per_sample = sum(bernoulli_kl(0.1, u.item()) for row in units for u in row) / len(X)
    assert found < per_sample * 0.999  # convex: the mean of divergences is another, larger number
    assert part.penalty(seen(part, autoencoder, X.flip(0))).item() == pytest.approx(found, rel=1e-5)


def test_kl_gradient_is_the_delta_formula() -> None:
    part, pre = KLSparsity(weight=1.0, rho=0.2), torch.randn(7, 4, requires_grad=True)
    constrained = part.constrain(code(pre), NOW)
    compute_rate_kl(0.2, constrained.value.mean(0)).backward()
    h = pre.detach().sigmoid()
    rate = h.mean(0)
    expected = (-0.2 / rate + 0.8 / (1 - rate)) / 7 * h * (1 - h)
    assert pre.grad is not None
    assert torch.allclose(pre.grad, expected, atol=1e-6)


def test_kl_acts_on_the_units_that_the_decoder_reads() -> None:
    part = KLSparsity(weight=1.0, rho=0.1)
    constrained = part.constrain(code(X), NOW)
    assert torch.equal(constrained.value, X.sigmoid())
    steep = Sigmoid(gain=3.0, rate=0.1)
    autoencoder = model()
    steep.attach(autoencoder, data(X))
    before = steep.constrain(autoencoder.encode(X), NOW)
    assert part.constrain(before, NOW) is before  # logistic already


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_l1_cannot_be_escaped_by_scaling(scale: float) -> None:
    part, autoencoder = L1(weight=1.0), model()
    before = part.penalty(seen(part, autoencoder, X))
    with torch.no_grad():
        autoencoder.writes_code.weight.mul_(scale)
        autoencoder.writes_code.bias.mul_(scale)
        autoencoder.decoder.dictionary.div_(scale)
    assert part.penalty(seen(part, autoencoder, X)).item() == pytest.approx(before.item(), rel=1e-5)


def test_l1_is_the_norm_weighted_sum() -> None:
    part, autoencoder = L1(weight=1.0), model(Undercomplete, units=3)
    value = autoencoder.encode(X).value
    norms = autoencoder.decoder.dictionary.norm(dim=0)
    expected = (value.abs() * norms).sum(1).mean().item()
    assert part.penalty(seen(part, autoencoder, X)).item() == pytest.approx(expected, rel=1e-6)


def test_unit_norm_columns_hold_after_a_step_and_the_gradient_is_tangent() -> None:
    part, autoencoder = L1(weight=1.0, form="unit_norm"), model()
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        passed = seen(part, autoencoder, X)
        (part.penalty(passed) + (passed.reconstruction - X).square().sum()).backward()
        part.before_step(autoencoder)
        dictionary = autoencoder.decoder.dictionary
        assert dictionary.grad is not None
        along = (dictionary.grad * dictionary).sum(0)
        assert torch.allclose(along, torch.zeros_like(along), atol=1e-4)
        optimizer.step()
        part.after_step(Step(autoencoder, optimizer, NOW, Noise("x"), part.restart))
        assert torch.allclose(autoencoder.decoder.dictionary.norm(dim=0), torch.ones(9))


@pytest.mark.parametrize("tied", [False, True])
def test_l2_counts_weights_once_and_no_biases(tied: bool) -> None:
    part, autoencoder = L2(weight=1.0), model(Undercomplete, units=3, widths=(4,), tied=tied)
    with torch.no_grad():
        for name, parameter in autoencoder.named_parameters():
            parameter.fill_(100.0 if "bias" in name else 2.0)
    matrices = [6 * 4, 4 * 3] * (1 if tied else 2)
    assert part.penalty(seen(part, autoencoder, X)).item() == 0.5 * 4.0 * sum(matrices)


def jacobian_norm(encode: object, x: Tensor) -> float:
    """||d code / d x||_F^2, mean over the rows, by autograd's Jacobian."""
    total = 0.0
    for row in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: encode(v[None]).value[0], row)  # type: ignore[operator]
        total += jacobian.square().sum().item()
    return total / len(x)


@pytest.mark.parametrize("units", [3, 9])
@pytest.mark.parametrize("kind", ["linear", "relu", "logistic"])
def test_contractive_closed_form_is_the_jacobian(kind: str, units: int) -> None:
    autoencoder = model(Undercomplete if kind == "linear" else model().__class__, units=units)
    part = Contractive(weight=1.0, method="exact")
    passed = seen(part, autoencoder, X)
    if kind == "logistic":
        logistic = KLSparsity(weight=1.0, rho=0.1)
        passed = seen(logistic, autoencoder, X)
    expected = jacobian_norm(passed.encode, X)
    assert part.penalty(passed).item() == pytest.approx(expected, rel=1e-4)


def test_hutchinson_is_unbiased_and_works_without_gradient() -> None:
    autoencoder = model(Undercomplete, units=3, widths=(5, 4))
    part = Contractive(weight=1.0, method="auto", probes=4000)
    with torch.no_grad():
        found = part.penalty(seen(part, autoencoder, X)).item()
    assert found == pytest.approx(jacobian_norm(autoencoder.encode, X), rel=0.05)


@pytest.mark.parametrize("method", ["exact", "hutchinson"])
def test_contractive_trains_the_encoder(method: str) -> None:
    autoencoder = model()
    part = Contractive(weight=1.0, method=method)  # type: ignore[arg-type]
    part.penalty(seen(part, autoencoder, X)).backward()
    assert autoencoder.writes_code.weight.grad is not None
    assert autoencoder.writes_code.weight.grad.abs().sum() > 0


@given(units=st.integers(2, 12), seed=st.integers(0, 20))
def test_orthogonal_against_brute_force(units: int, seed: int) -> None:
    part, autoencoder = Orthogonal(weight=1.0), model(Undercomplete, units=units, seed=seed)
    d = autoencoder.decoder.dictionary.detach()
    gram = d.t() @ d
    if units <= 6:
        expected = (gram - torch.eye(units)).square().sum().item()
    else:
        cosines = gram / (d.norm(dim=0)[:, None] * d.norm(dim=0)[None])
        pairs = [cosines[i, j].item() ** 2 for i in range(units) for j in range(units) if i != j]
        expected = sum(pairs)
    assert part.penalty(seen(part, autoencoder, X)).item() == pytest.approx(expected, abs=1e-4)


def test_orthogonal_is_zero_for_orthonormal_columns() -> None:
    autoencoder = model(Undercomplete, units=4)
    torch.nn.init.orthogonal_(autoencoder.decoder.dictionary)
    part = Orthogonal(weight=1.0)
    assert part.penalty(seen(part, autoencoder, X)).item() == pytest.approx(0, abs=1e-9)


def test_unit_norm_of_tied_weights_projects_the_encoders_gradient() -> None:
    part, autoencoder = L1(weight=1.0, form="unit_norm"), model(tied=True)
    passed = seen(part, autoencoder, X)
    (part.penalty(passed) + (passed.reconstruction - X).square().sum()).backward()
    rows, grad = autoencoder.writes_code.weight, autoencoder.writes_code.weight.grad
    assert grad is not None
    assert (grad * rows).sum(1).abs().max() > 0.1
    part.before_step(autoencoder)
    assert torch.allclose((grad * rows).sum(1), torch.zeros(9), atol=1e-4)


def test_l1_of_a_deep_decoder_weighs_by_its_jacobian() -> None:
    part, autoencoder = L1(weight=1.0), model(units=5, widths=(7,))
    x = X[:1]
    passed = seen(part, autoencoder, x)
    value = passed.code.value.detach()
    jacobian = torch.autograd.functional.jacobian(autoencoder.decode, value)[0, :, 0]
    exact = (value[0].abs() * jacobian.norm(dim=0)).sum().item()
    draws = [part.penalty(replace(passed, noise=Noise("probe", i))).item() for i in range(4000)]
    error = 4 * torch.tensor(draws).std().item() / math.sqrt(len(draws))
    assert sum(draws) / len(draws) == pytest.approx(exact, abs=error)


def test_l1_cannot_be_escaped_through_a_later_layer() -> None:
    part, autoencoder = L1(weight=1.0), model(units=5, widths=(7,), activation="relu")
    before = part.penalty(seen(part, autoencoder, X)).item()
    first, _, last = autoencoder.decoder.layers
    with torch.no_grad():  # the same function, by smaller columns and a larger layer behind them
        first.weight *= 0.01
        first.bias *= 0.01
        last.weight *= 100
    assert before > 0
    assert part.penalty(seen(part, autoencoder, X)).item() == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_kl_brings_a_unit_back_from_the_ends(rate: float) -> None:
    rates = torch.full((1,), rate, requires_grad=True)
    compute_rate_kl(0.05, rates).backward()
    assert rates.grad is not None
    assert rates.grad.item() * (rate - 0.05) > 0  # towards rho
