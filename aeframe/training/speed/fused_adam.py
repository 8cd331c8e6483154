"""Torch's fused Adam, without what its step() does around it: some 8 % of a small network's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim import optimizer as optimizers

MEMORIES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
"""What Adam keeps for a weight, in its kernel's order; the third one with `amsgrad` only."""


def step_of(optimizer: Optimizer) -> Callable[[], object]:
    """What computes the same as the optimizer's next steps, as long as nobody else takes part in them or puts
    other tensors into its state.

    That is step() itself, unless the optimizer is a fused Adam or AdamW, as torch made it, and nothing scales
    gradients.
    """
    watched = (
        *(optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks),
        *(optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks),
    )
    plain = type(optimizer) in (Adam, AdamW) and "step" not in vars(optimizer) and not any(watched)
    plain = plain and not hasattr(optimizer, "grad_scale")
    if not plain or not all(map(_is_plain, optimizer.param_groups)):
        return optimizer.step
    return _Steps(optimizer)


def _is_plain(group: dict[str, Any]) -> bool:
    """Whether one call of the kernel is all that a group's step takes."""
    kinds = {(weight.device, weight.dtype) for weight in group["params"]}
    numbers = (group["lr"], *group["betas"])
    return group["fused"] and len(kinds) == 1 and not any(isinstance(n, Tensor) for n in numbers)


class _Steps:
    """Steps of weights that all have a gradient, and have had one before; the few others are the optimizer's,
    which looks at each weight.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.groups = optimizer, optimizer.param_groups
        known = optimizer.state.get  # not by [], which would note a state for each weight
        states = [[known(weight, {}) for weight in group["params"]] for group in self.groups]
        self.begun = all(map(all, states))
        self.memories = [
            [[state[name] for state in of_group if name in state] for name in MEMORIES]
            for of_group in states
        ]

    @torch.no_grad()
    def __call__(self) -> None:
        gradients = [[weight.grad for weight in group["params"]] for group in self.groups]
        if not self.begun or any(one is None for grads in gradients for one in grads):
            self.optimizer.step()
            return
        for group, grads, memories in zip(self.groups, gradients, self.memories, strict=True):
            torch._foreach_add_(memories[-1], 1)
            decoupled, (beta1, beta2) = group["decoupled_weight_decay"], group["betas"]
            kernel: Any = torch._fused_adamw_ if decoupled else torch._fused_adam_
            kernel(
                group["params"],
                grads,
                *memories,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=group["amsgrad"],
                maximize=group["maximize"],
            )
