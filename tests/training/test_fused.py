"""The shorter way to take a step of fused Adam gives the optimizer's own weights and state, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from aeframe.training.speed.fused_adam import step_of

Make = Callable[[list[nn.Parameter]], Optimizer]
MADE: dict[str, Make] = {
    "Adam": lambda weights: Adam(weights, lr=0.01, fused=True),
    "AdamW": lambda weights: AdamW(weights, lr=0.01, weight_decay=0.3, fused=True),
    "decay": lambda weights: Adam(weights, lr=0.01, weight_decay=0.3, fused=True),
    "decoupled": lambda weights: Adam(
        weights, weight_decay=0.3, decoupled_weight_decay=True, fused=True
    ),
    "amsgrad": lambda weights: Adam(weights, amsgrad=True, betas=(0.5, 0.7), eps=0.1, fused=True),
    "maximize": lambda weights: AdamW(weights, maximize=True, fused=True),
    "groups": lambda weights: Adam(
        [
            {"params": weights[:1], "lr": 0.1, "betas": (0.3, 0.9)},
            {"params": weights[1:], "weight_decay": 0.5, "amsgrad": True},
        ],
        fused=True,
    ),
}


def test_a_weight_without_a_gradient_has_no_state() -> None:
    """Else a checkpoint of it would be refused."""
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = Adam(weights, fused=True)
    weights[0].grad = torch.ones(2)
    for _ in range(3):
        step_of(optimizer)()
    assert optimizer.state_dict()["state"].keys() == {0}


def trained(make: Make, step: Callable[[Optimizer], Callable[[], object]]) -> list[Tensor]:
    """Weights and state after 8 steps, taken two by two, the rate of the last ones halved.

    The third weight has a gradient for the first time in the third step, and none in the sixth.
    """
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(5, 3, generator=generator)) for _ in range(3)]
    optimizer = make(weights)
    optimizer.step()  # without any gradient
    for number in range(8):
        if number % 2 == 0:
            take = step(optimizer)
        for weight in weights:
            weight.grad = torch.randn(5, 3, generator=generator)
        if number < 2 or number == 5:
            weights[2].grad = None
        if number == 4:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        take()
    states = optimizer.state_dict()["state"]
    assert states.keys() == {0, 1, 2}
    return [*weights, *(value for state in states.values() for _, value in sorted(state.items()))]


@pytest.mark.parametrize("name", MADE)
def test_steps_are_those_of_the_optimizer(name: str) -> None:
    taken = trained(MADE[name], step_of)
    own = trained(MADE[name], lambda optimizer: optimizer.step)
    plain = MADE[name]([nn.Parameter(torch.ones(2)) for _ in range(2)])
    assert step_of(plain) != plain.step
    assert len(taken) == len(own) >= 3 + 3 * 3
    assert all(torch.equal(a, b) for a, b in zip(taken, own, strict=True))


def test_the_shorter_way_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison above would be of the same."""
    optimizer = Adam([weight := nn.Parameter(torch.ones(2))], fused=True)
    weight.grad = torch.ones(2)
    optimizer.step()
    monkeypatch.setattr(Adam, "step", lambda *_: pytest.fail("the optimizer's own step was taken"))
    before = weight.detach().clone()
    step_of(optimizer)()
    assert (weight < before).all()


class Own(Adam):
    """With a step of its own, perhaps."""


@pytest.mark.parametrize(
    "kind",
    ["SGD", "not fused", "subclass", "schedule", "hook", "any hook", "rate", "double", "scaled"],
)
def test_what_is_not_plain_takes_its_own_step(kind: str) -> None:
    weights: list[Any] = [nn.Parameter(torch.ones(2))]
    if kind == "double":  # one of two
        weights.append(nn.Parameter(torch.ones(2).double()))
    cls = {"SGD": SGD, "subclass": Own}.get(kind, Adam)
    rate: Any = torch.tensor(0.1) if kind == "rate" else 0.1
    optimizer = cls(weights, lr=rate, fused=kind != "not fused")
    if kind == "scaled":  # as a GradScaler leaves it
        optimizer.grad_scale = torch.ones(())  # type: ignore[attr-defined]
    seen: list[Optimizer] = []
    if kind == "schedule":  # which counts the steps
        ExponentialLR(optimizer, 0.5)
    hooks = [optimizer.register_step_post_hook(lambda one, *_: seen.append(one))]
    if kind == "any hook":
        from torch.optim.optimizer import register_optimizer_step_post_hook

        hooks.append(register_optimizer_step_post_hook(lambda one, *_: seen.append(one)))
    if kind != "hook":
        hooks.pop(0).remove()
    try:
        assert step_of(optimizer) == optimizer.step
    finally:
        for hook in hooks:
            hook.remove()
