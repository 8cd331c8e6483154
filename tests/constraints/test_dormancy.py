"""Dormant units: how many stay, which, and with what gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aeframe.constraints import BatchTopK, JumpReLU, Sigmoid, Step, Threshold, TopK, WinnerTakeAll
from aeframe.constraints.activation import _Jump, _Step
from aeframe.core.errors import TrainingError
from aeframe.core.schedules import Clock
from aeframe.models import Code, Undercomplete
from tests.support.constraint_tools import NOW, code, data, model, output, seen


def tensors(draw: st.DrawFn) -> Tensor:
    rows, units = draw(st.integers(1, 7)), draw(st.integers(2, 9))
    kind = draw(st.sampled_from(["normal", "ties", "negative", "zero"]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    pre = torch.randn(rows, units, generator=generator)
    return {"normal": pre, "ties": pre.round(), "negative": -pre.abs() - 1, "zero": pre * 0}[kind]


codes = st.composite(tensors)()


@given(pre=codes, k=st.integers(1, 12))
def test_topk_keeps_at_most_k_and_they_are_the_largest(pre: Tensor, k: int) -> None:
    kept = TopK(k=k).constrain(code(pre), NOW)
    assert kept.active.sum(1).max() <= k
    for before, after in zip(pre.relu(), kept.value, strict=True):
        largest = before.sort(descending=True).values[: min(k, len(before))]
        assert torch.equal(after.sort(descending=True).values[: len(largest)], largest)


def test_topk_of_a_linear_code_keeps_signed_values_and_exactly_k_under_ties() -> None:
    pre = torch.tensor([[-1.0, -2.0, -3.0, -4.0], [5.0, 5.0, 5.0, 5.0]])
    kept = TopK(k=2).constrain(Code(pre, pre), NOW).value
    assert kept[0].tolist() == [-1.0, -2.0, 0.0, 0.0]
    assert (kept[1] != 0).sum() == 2


def test_no_gradient_through_slots_that_the_rectifier_left_at_zero() -> None:
    pre = torch.full((3, 5), -1.0, requires_grad=True)
    TopK(k=2).constrain(code(pre), NOW).value.sum().backward()
    assert pre.grad is not None
    assert (pre.grad == 0).all()


def test_k_can_be_a_schedule() -> None:
    part = TopK(k={"schedule": "linear", "start": 8, "end": 2, "epochs": 2})
    pre = torch.rand(4, 9)
    active = [int(part.constrain(code(pre), Clock(0, e)).active.sum(1)[0]) for e in (0.0, 1.0, 2.0)]
    assert active == [8, 5, 2]


@given(pre=codes, k=st.integers(1, 8))
def test_batch_topk_keeps_k_per_sample_on_average(pre: Tensor, k: int) -> None:
    k = min(k, pre.shape[1])
    kept = BatchTopK(k=k).train().constrain(code(pre), NOW)
    total = k * len(pre)
    assert kept.active.sum() <= total
    largest = pre.relu().flatten().sort(descending=True).values[:total]
    assert torch.allclose(kept.value.sum(), largest.sum(), atol=1e-4)


@pytest.mark.parametrize("rows", [16, 64, 256])
def test_batch_topk_is_as_sparse_in_inference_as_in_training(rows: int) -> None:
    part, generator = BatchTopK(k=5).train(), torch.Generator().manual_seed(0)
    with pytest.raises(TrainingError, match="no threshold before the first training step"):
        part.eval().constrain(code(torch.zeros(1, 3)), NOW)
    part.train()
    for _ in range(50):
        pre = torch.randn(rows, 64, generator=generator)
        part.observe(output(pre, part.constrain(code(pre), NOW)), NOW)
    part.eval()
    pre = torch.randn(4000, 64, generator=generator)
    assert part.constrain(code(pre), NOW).active.sum(1).float().mean().item() == pytest.approx(
        5, rel=0.1
    )


def test_batch_topk_takes_its_threshold_along() -> None:
    part = BatchTopK(k=2).train()
    pre = torch.rand(8, 6)
    part.observe(output(pre, part.constrain(code(pre), NOW)), NOW)
    other = BatchTopK(k=2)
    other.load_state_dict(part.state_dict())
    assert torch.equal(other.get_threshold(), part.get_threshold())


def test_the_first_threshold_is_the_smallest_kept_value() -> None:
    part, pre = BatchTopK(k=2).train(), torch.rand(8, 6)
    kept = part.constrain(code(pre), NOW)
    part.observe(output(pre, kept), NOW)
    assert part.get_threshold().item() == pytest.approx(kept.value[kept.value > 0].min().item())


@given(pre=codes, rate=st.floats(0.05, 0.95))
def test_winner_take_all_lets_each_unit_win_its_share(pre: Tensor, rate: float) -> None:
    part = WinnerTakeAll(rate=rate).train()
    kept = part.constrain(code(pre), NOW)
    winners = max(1, int(rate * len(pre)))
    assert kept.active.sum(0).max() <= winners
    for before, after in zip(pre.relu().t(), kept.value.t(), strict=True):
        largest = before.sort(descending=True).values[:winners]
        assert torch.equal(after.sort(descending=True).values[:winners], largest)


def test_winner_take_all_in_inference() -> None:
    part = WinnerTakeAll(rate=0.1).train()
    part.attach(model(units=20), data(torch.zeros(1, 6)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        pre = torch.randn(100, 20, generator=generator)
        part.observe(output(pre, part.constrain(code(pre), NOW)), NOW)
    pre = torch.randn(5000, 20, generator=generator)
    share = part.eval().constrain(code(pre), NOW).active.float().mean().item()
    assert share == pytest.approx(0.1, rel=0.15)
    part.inference = "relu"
    assert torch.equal(part.constrain(code(pre), NOW).value, pre.relu())


X = torch.randn(500, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_threshold_gives_the_wanted_firing_rate_at_initialization(rate: float) -> None:
    part, autoencoder = Threshold(rate=rate), model()
    part.attach(autoencoder, data(X))
    active = part.constrain(autoencoder.encode(X), NOW).active.float().mean(0)
    assert torch.allclose(active, torch.full((9,), rate), atol=0.003)


def test_threshold_forms() -> None:
    pre = torch.tensor([[0.5, 1.0, 1.5]])
    for form, expected in (("shifted", [0.0, 0.0, 0.5]), ("hard", [0.0, 0.0, 1.5])):
        part = Threshold(theta=1.0, form=form)  # type: ignore[arg-type]
        part.attach(model(units=3), data(X))
        assert part.constrain(code(pre), NOW).value[0].tolist() == expected


@pytest.mark.parametrize("options", [{}, {"theta": 1.0, "rate": 0.1}])
def test_threshold_wants_one_of_its_two_forms(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either theta or rate"):
        Threshold(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_sigmoid_has_the_wanted_mean_at_initialization(rate: float) -> None:
    part, autoencoder = Sigmoid(gain=6.0, rate=rate), model()
    part.attach(autoencoder, data(X))
    constrained = part.constrain(autoencoder.encode(X), NOW)
    assert torch.allclose(constrained.value.mean(0), torch.full((9,), rate), atol=1e-4)
    assert constrained.in_unit_interval
    assert torch.equal(constrained.active, constrained.value > rate)


def test_jump_relu_values() -> None:
    z, theta = torch.tensor([[0.4, 0.6, -1.0]]), torch.tensor([0.5, 0.5, 0.0])
    width = torch.tensor(1.0)
    assert _Jump.apply(z, theta, width).tolist() == [[0.0, pytest.approx(0.6), 0.0]]
    assert _Step.apply(z, theta, width).tolist() == [[0.0, 1.0, 0.0]]


def test_jump_relu_gradients_are_the_straight_through_estimates() -> None:
    z = torch.tensor(
        [[0.45, 0.55, 0.9, 0.1]], requires_grad=True
    )  # below, above, far above and below
    theta = torch.full((4,), 0.5, requires_grad=True)
    width = torch.tensor(0.2)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (_Jump.apply(z, theta, width) * weight).sum().backward()
    assert z.grad is not None
    assert theta.grad is not None
    assert z.grad.tolist() == [[0.0, 2.0, 3.0, 0.0]]
    # a unit just below its threshold gets a gradient as well
    assert torch.allclose(theta.grad, torch.tensor([-0.5 / 0.2 * 1, -0.5 / 0.2 * 2, 0.0, 0.0]))
    z.grad = theta.grad = None
    (_Step.apply(z, theta, width) * weight).sum().backward()
    assert z.grad is None or (z.grad == 0).all()
    assert theta.grad is not None
    assert torch.allclose(theta.grad, torch.tensor([-1 / 0.2, -2 / 0.2, 0.0, 0.0]))


def test_jump_relu_counts_active_units_and_lowers_them_when_priced() -> None:
    part, autoencoder = JumpReLU(weight=1.0, rate=0.3), model()
    part.attach(autoencoder, data(X))
    passed = seen(part, autoencoder, X)
    before = part.penalty(passed)
    assert before.item() == pytest.approx(passed.code.active.float().sum(1).mean().item())
    optimizer = torch.optim.Adam(part.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        part.penalty(seen(part, autoencoder, X)).backward()
        optimizer.step()
        part.after_step(Step(autoencoder, optimizer, NOW, None, part.restart))  # type: ignore[arg-type]
    assert part.penalty(seen(part, autoencoder, X)).item() < 0.5 * before.item()
    assert part.theta.dtype == torch.float32
    assert (part.theta >= 0).all()


@settings(max_examples=5)
@given(k=st.integers(1, 4))
def test_sizes_that_leave_no_unit_dormant_are_refused(k: int) -> None:
    for part in (TopK(k=k), BatchTopK(k=k)):
        assert part.size_problem(k + 1, 6, 10) is None
        what, _ = part.size_problem(k, 6, 10) or ("", "")
        assert what == f"k={k} leaves none of the {k} code units dormant"
    what, _ = WinnerTakeAll(rate=0.05).size_problem(9, 6, 10) or ("", "")
    assert what == "a share of 0.05 of a batch of 10 is less than one winner"


def test_a_selection_of_a_narrow_code_keeps_its_posterior_fields() -> None:
    pre = model(Undercomplete, units=4).encode(X).pre
    assert torch.equal(TopK(k=2).constrain(Code(pre, pre), NOW).pre, pre)


def test_a_hard_threshold_below_zero_leaves_the_code_rectified() -> None:
    part = Threshold(rate=0.9, form="hard")
    part.attach(model(units=20), data(X))
    assert part.theta.min() < 0
    pre = torch.linspace(-3, 3, 40).reshape(2, 20)
    assert (part.constrain(code(pre), NOW).value >= 0).all()


@torch.no_grad()
@pytest.mark.parametrize("cls", [Threshold, Sigmoid])
def test_thresholds_follow_activity(cls: type[Threshold] | type[Sigmoid]) -> None:
    options = {"gain": 4.0} if cls is Sigmoid else {}
    held, moved = cls(rate=0.1, adapt=0.0, **options), cls(rate=0.1, adapt=0.3, **options)
    shifted = torch.randn(500, 9, generator=torch.Generator().manual_seed(1)) + 2.0
    for part in (held, moved):
        part.attach(model(), data(X))
        start = part.theta.clone()
        for _ in range(300):
            part.observe(output(shifted, part.constrain(code(shifted), NOW)), NOW)
        assert torch.equal(part.theta, start) == (part is held)
    activity = moved.measure_activity(moved.constrain(code(shifted), NOW))
    torch.testing.assert_close(activity, torch.full((9,), 0.1), atol=0.02, rtol=0)
    assert held.measure_activity(held.constrain(code(shifted), NOW)).mean() > 0.5
