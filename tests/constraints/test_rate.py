"""The rate constraint: nats that are those of an entropy coder, noise in training, rounding elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor

from aeframe.codec.entropy.fitting import Counts, estimate_bits
from aeframe.constraints import Rate
from aeframe.constraints.rate import QUICK
from aeframe.core.noise import Noise
from aeframe.models import Undercomplete
from aeframe.models.autoencoder import Setting
from aeframe.models.likelihoods import Gaussian
from aeframe.networks import FullyConv
from aeframe.training.build import Built, build
from tests.support.constraint_tools import NOW, code, data, model, seen

Compose = Callable[..., DictConfig]
X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def rate(units: int = 3, step: float = 1.0) -> Rate:
    part = Rate(weight=1.0, step=step)
    part.attach(model(Undercomplete, units=units), data(X))
    return part


@given(st.floats(-40, 40), st.floats(-5, 5), st.floats(-3, 3))
def test_nats_are_those_of_the_logistic_distribution(z: float, mean: float, scale: float) -> None:
    part = rate(1).double()
    torch.nn.init.constant_(part.mean, mean / QUICK)
    torch.nn.init.constant_(part.log_scale, scale / QUICK)

    def below(v: float) -> float:
        return 0.5 * (1 + math.tanh((v - mean) / math.exp(scale) / 2))

    expected = below(z + 0.5) - below(z - 0.5)
    found = part.compute_nats(torch.tensor([[z]], dtype=torch.float64)).item()
    assert math.isfinite(found)
    if expected > 1e-12:  # beyond, the difference of two numbers near 1 is rounding
        assert found == pytest.approx(-math.log(expected), rel=1e-3, abs=1e-9)


def test_the_probabilities_of_all_whole_numbers_add_up_to_one() -> None:
    part = rate(3)
    with torch.no_grad():
        part.mean.copy_(torch.tensor([0.0, 0.4, -2.0]) / QUICK)
        part.log_scale.copy_(torch.tensor([-3.0, 0.0, 1.0]) / QUICK)
    numbers = torch.arange(-80.0, 81.0)[:, None].expand(-1, 3)
    assert torch.allclose(part.compute_nats(numbers).neg().exp().sum(0), torch.ones(3), atol=1e-5)


def test_numbers_far_out_and_narrow_scales_have_finite_nats_and_gradients() -> None:
    part = rate(4)
    with torch.no_grad():
        part.log_scale.copy_(torch.tensor([-60.0, 60.0, -8.0, 0.0]))
    z = torch.tensor([[1e6, 0.0, -1e4, 3e5]], requires_grad=True)
    part.compute_nats(z).sum().backward()
    for value in (part.compute_nats(z), z.grad, part.mean.grad, part.log_scale.grad):
        assert value is not None
        assert bool(value.isfinite().all())


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_noise_is_one_step_wide_in_training_and_elsewhere_the_code_is_rounded(step: float) -> None:
    part, pre = rate(3, step), torch.randn(5000, 3)
    part.train()
    assert part.constrain(code(pre), NOW).value.equal(pre.relu())
    noise = part.perturb(code(pre), Noise("a"), NOW).value - pre.relu()
    assert noise.min() >= -step / 2 - 1e-6
    assert noise.max() <= step / 2 + 1e-6
    assert noise.var().item() == pytest.approx(step**2 / 12, rel=0.05)
    rounded = part.eval().constrain(code(pre), NOW).value / step
    assert torch.allclose(rounded, rounded.round(), atol=1e-6)
    assert (rounded * step - pre.relu()).abs().max() <= step / 2 + 1e-6


def test_every_parameter_gets_a_gradient() -> None:
    part, autoencoder = rate(9).train(), model(Undercomplete, units=9)
    seen_one = seen(part, autoencoder, X)
    part.penalty(seen_one).backward()
    for parameter in (*part.parameters(), autoencoder.writes_code.weight):
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).all())


def test_the_gradient_of_a_rounded_code_is_that_of_the_code() -> None:
    pre = torch.randn(5, 3, requires_grad=True)
    rate(3).eval().constrain(code(pre), NOW).value.sum().backward()
    assert pre.grad is not None
    assert pre.grad.equal((pre > 0).float())


def trained(compose: Compose, *overrides: str) -> Built:
    """A net after a hundred steps on the digits, without a trainer."""
    built = build(
        compose("model.latent_dim=12", "network.widths=[32]", "constraint=rate", *overrides)
    )
    optimizer = torch.optim.Adam(built.net.parameters(), lr=5e-3)
    x = built.data.peek("train", 1000)
    built.net.train()
    for step in range(150):
        optimizer.zero_grad()
        built.net(x, noise=Noise(step)).loss.backward()
        optimizer.step()
    built.net.eval()
    return built


@torch.no_grad()
def nats_and_bits(built: Built) -> tuple[float, float]:
    """The rate term on held-out samples, and what tables of the training split's codes need."""

    def rounded(split: str) -> Tensor:
        return built.net.encode(built.data.peek(split, 1000)).value

    x = built.data.peek("test", 1000)
    term = built.net(x, noise=Noise("test"), as_trained=False).terms["rate"].value
    tables = Counts(rounded("train").numpy().astype(np.int32)).fit_tables(1)
    codes = rounded("test").numpy().astype(np.int32)
    return float(term), estimate_bits(tables, codes) / len(codes)


def test_a_larger_weight_needs_fewer_bytes_and_the_term_is_what_they_are(compose: Compose) -> None:
    found = [
        nats_and_bits(trained(compose, f"constraint.rate.weight={weight}"))
        for weight in (0.005, 0.02, 0.1)
    ]
    bits = [b for _, b in found]
    assert bits[0] > 1.1 * bits[1]
    assert bits[1] > 1.1 * bits[2]
    for nats, b in found:  # histograms fit better than logistic curves
        assert 0.85 * nats / math.log(2) < b < 1.05 * nats / math.log(2)


def test_a_network_knows_its_step(compose: Compose) -> None:
    assert build(compose("constraint=rate", "constraint.rate.step=0.5")).net.step == 0.5
    assert build(compose("constraint=l1")).net.step is None


def test_a_channel_of_a_map_has_one_distribution_everywhere() -> None:
    torch.manual_seed(0)
    network = FullyConv(widths=[3], patch=4)
    autoencoder = Undercomplete(Setting(network, Gaussian(), (1, 8, 12)), latent_dim=5 * 6)
    part = Rate(weight=1.0)
    images = torch.rand(20, 1, 8, 12)
    part.attach(autoencoder, data(images))
    # it begins with the mean and the variance of the data, and of a logistic distribution that is
    # pi^2 / 3 scale^2; that of the noise is added
    channels = autoencoder.encode(images).value.view(20, 5, 6).transpose(0, 1).flatten(1)
    variance = (QUICK * part.log_scale).exp().square() * math.pi**2 / 3
    assert torch.allclose(QUICK * part.mean, channels.mean(1), atol=1e-5)
    assert torch.allclose(variance, channels.var(1, correction=0) + 1 / 12, rtol=1e-4)
    steps = torch.randn(2, 30)
    nats = part.compute_nats(steps)
    assert nats.shape == steps.shape
    moved = steps.view(2, 5, 6).flip(2).flatten(1)
    assert torch.allclose(part.compute_nats(moved), nats.view(2, 5, 6).flip(2).flatten(1))
