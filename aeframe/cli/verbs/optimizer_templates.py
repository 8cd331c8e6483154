"""Templates of parts that are named by their class, without options in a group, that `aeframe new` writes."""

from __future__ import annotations

from aeframe.cli.verbs.part_templates import Kind

OPTIMIZER = Kind(
    '''\
"""$part: an optimizer."""

import torch
from torch.optim import Optimizer


class $part(Optimizer):
    """Steps of the same size for each weight, in the direction of its mean gradient (Lion without decay)."""

    def __init__(self, params, *, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]  # which checkpoints keep
                mean = state.setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                weight.sub_(mean.sign(), alpha=group["lr"])
        return loss
''',
    "",
    '''\
"""Tests of $name."""

import aeframe
import torch

from $package.$name import $part


def test_each_weight_makes_a_step_of_the_same_size():
    weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    (weight * torch.tensor([100.0, -0.01])).sum().backward()
    $part([weight], lr=0.25).step()
    assert weight.tolist() == [0.75, -0.75]
''',
)
SCHEDULE = Kind(
    '''\
"""$part: a learning-rate schedule."""

from torch.optim.lr_scheduler import LRScheduler


class $part(LRScheduler):
    """Multiplies the learning rate by 1 / (1 + t / half), t being the epochs until now."""

    def __init__(self, optimizer, *, half: int) -> None:
        self.half = half
        super().__init__(optimizer)

    def get_lr(self):
        return [lr / (1 + self.last_epoch / self.half) for lr in self.base_lrs]
''',
    "",
    '''\
"""Tests of $name."""

import aeframe
import torch

from $package.$name import $part


def test_the_rate_is_half_after_some_epochs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = $part(optimizer, half=2)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == [0.5]
''',
)
KINDS = {"optimizer": OPTIMIZER, "schedule": SCHEDULE}
CHOICES = {
    "optimizer": "optimizer._target_=$package.$name.$part",
    "schedule": "scheduler={_target_: $package.$name.$part, half: 5}",
}
"""Words that choose a part of each kind."""
