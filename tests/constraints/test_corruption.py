"""Denoising: how much is corrupted, with what, and that the target stays clean."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aeframe.constraints import Constraint, GaussianNoise, Masking, SaltAndPepper
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.data import Normalization
from tests.support.constraint_tools import NOW, data, model

IMAGES = torch.rand(50, 1, 10, 10, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


@given(fraction=st.floats(0, 1), seed=st.integers(0, 99))
def test_exact_masking_hides_the_same_number_in_every_sample(fraction: float, seed: int) -> None:
    found = Masking(fraction=fraction).corrupt(IMAGES, Noise(seed), NOW)
    counts = found.mask.flatten(1).sum(1)
    assert (counts == round(fraction * 100)).all()
    assert torch.equal(found.x == 0, found.mask)
    assert torch.equal(found.x[~found.mask], IMAGES[~found.mask])


@pytest.mark.parametrize(
    "part", [Masking(fraction=0.3, exact=False), SaltAndPepper(fraction=0.3)], ids=["coin", "salt"]
)
def test_each_element_by_its_own_coin(part: Constraint) -> None:
    found = part.corrupt(IMAGES, Noise(0), NOW)
    assert found is not None
    deviation = math.sqrt(0.3 * 0.7 * IMAGES.numel())
    assert abs(found.mask.sum().item() - 0.3 * IMAGES.numel()) < 4 * deviation


def test_salt_and_pepper_takes_the_datas_extremes_by_a_fair_coin() -> None:
    part = SaltAndPepper(fraction=0.5)
    part.attach(model(), data(IMAGES))
    part.extremes = torch.tensor([-2.0, 3.0])
    found = part.corrupt(IMAGES, Noise(0), NOW)
    changed = found.x[found.mask]
    assert set(changed.tolist()) == {-2.0, 3.0}
    share = (changed == 3.0).double().mean().item()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(changed)))


def test_gaussian_noise_has_its_deviation() -> None:
    found = GaussianNoise(sigma=0.25).corrupt(IMAGES, Noise(0), NOW)
    noise = found.x - IMAGES
    assert noise.std().item() == pytest.approx(0.25, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=0.015)


PARTS = [Masking(fraction=0.4), SaltAndPepper(fraction=0.4), GaussianNoise(sigma=0.4)]


@pytest.mark.parametrize("part", PARTS)
def test_the_input_is_untouched_and_noise_is_fresh(part: Constraint) -> None:
    before = IMAGES.clone()
    first, again = part.corrupt(IMAGES, Noise(0, 1), NOW), part.corrupt(IMAGES, Noise(0, 1), NOW)
    later = part.corrupt(IMAGES, Noise(0, 2), NOW)
    assert first is not None
    assert again is not None
    assert later is not None
    assert torch.equal(IMAGES, before)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, later.x)


def test_levels_can_be_schedules() -> None:
    fraction = {"schedule": "linear", "start": 0.0, "end": 1.0, "epochs": 10}
    found = Masking(fraction=fraction).corrupt(IMAGES, Noise(0), Clock(0, 5.0))
    assert found.mask.float().mean().item() == 0.5


def net(*parts: Constraint) -> ConstrainedAutoencoder:
    identity = Normalization(torch.tensor(0.0), torch.tensor(1.0))
    named = {type(part).__name__: part for part in parts}
    return ConstrainedAutoencoder(model(inputs=100, units=120), named, identity)


X = torch.rand(8, 100, generator=torch.Generator().manual_seed(0))


def test_the_target_is_the_clean_input() -> None:
    class Poison(Masking):
        """Corrupts with what the loss must never see."""

        def corrupt(self, x: Tensor, noise: Noise, clock: Clock):  # type: ignore[no-untyped-def]
            found = super().corrupt(x, noise, clock)
            return type(found)(torch.where(found.mask, 1e6, x), found.mask)

    poisoned = net(Poison(fraction=0.5))
    with torch.no_grad():
        poisoned.model.writes_code.weight.zero_()  # the encoder looks at nothing
    loss = poisoned(X, noise=Noise(0)).loss.item()
    clean = poisoned(X, noise=Noise(0), as_trained=False).loss.item()
    assert loss == pytest.approx(clean)


def test_the_clean_pass_corrupts_nothing() -> None:
    found = net(*PARTS)(X, noise=Noise(0), as_trained=False)
    assert found.corrupted is X
    assert found.mask is None


def test_corruptions_stack_in_order() -> None:
    found = net(GaussianNoise(sigma=0.5), Masking(fraction=0.5))(X, noise=Noise(0))
    hidden = (found.corrupted == 0).sum(1)
    assert (hidden == 50).all()
    assert found.mask.all()  # the noise touched every element


@pytest.mark.parametrize(("corrupted", "rest"), [(1.0, 0.0), (1.0, 0.5), (2.0, 3.0)])
def test_emphasis_weighs_the_elements(corrupted: float, rest: float) -> None:
    part = Masking(fraction=0.25, emphasis_corrupted=corrupted, emphasis_rest=rest)
    found = net(part)(X, noise=Noise(0))
    likelihood = net(part).model.likelihood
    nll = likelihood.nll(found.parameters, X) - 0.5 * math.log(2 * math.pi)
    weights = torch.where(found.mask, corrupted, rest)
    assert found.loss.item() == pytest.approx((nll * weights).sum(1).mean().item(), rel=1e-5)


def test_full_emphasis_leaves_no_gradient_on_what_was_not_corrupted() -> None:
    made = net(Masking(fraction=0.25, emphasis_rest=0.0))
    found = made(X, noise=Noise(0))
    (gradient,) = torch.autograd.grad(found.loss, found.parameters)
    assert (gradient[~found.mask] == 0).all()
    assert (gradient[found.mask] != 0).all()


def test_equal_emphasis_is_the_plain_loss() -> None:
    plain = net(Masking(fraction=0.25))(X, noise=Noise(0)).loss
    equal = net(Masking(fraction=0.25, emphasis_corrupted=1.0, emphasis_rest=1.0))
    assert torch.equal(plain, equal(X, noise=Noise(0)).loss)


def test_an_emphasis_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="both 0"):
        Masking(fraction=0.1, emphasis_corrupted=0.0, emphasis_rest=0.0)


def test_two_full_emphases_count_what_either_corrupted() -> None:
    """Elements that only one corrupted count as well."""
    parts: dict[str, Constraint] = {
        name: cls(fraction=0.25, emphasis_corrupted=1.0, emphasis_rest=0.0)
        for name, cls in (("masking", Masking), ("salt_and_pepper", SaltAndPepper))
    }
    identity = Normalization(torch.tensor(0.0), torch.tensor(1.0))
    net = ConstrainedAutoencoder(model(inputs=100), parts, identity)
    output = net(IMAGES.flatten(1), noise=Noise(0))
    assert output.mask is not None
    assert 0.35 < output.mask.float().mean() < 0.52
    squares = 0.5 * (output.x - output.parameters) ** 2
    expected = (squares * output.mask).sum(1).mean()
    torch.testing.assert_close(output.terms["reconstruction"].value, expected)
