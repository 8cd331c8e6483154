"""Torch's fused Adam, without what its step() does around it: some 7 % of a small network's step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.optim import Adam, AdamW, Optimizer
from torch.optim import optimizer as optimizers
from torch.optim.adam import adam


def step_of(optimizer: Optimizer) -> Callable[[], object]:
    """What computes the same as the optimizer's step(), in which nobody else takes part.

    That is step() itself, unless the optimizer is a fused Adam or AdamW and as torch made it.
    """
    watched = (
        *(optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks),
        *(optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks),
    )
    plain = type(optimizer) in (Adam, AdamW) and "step" not in vars(optimizer) and not any(watched)
    if not plain or not all(group["fused"] for group in optimizer.param_groups):
        return optimizer.step
    return lambda: _step(optimizer)


@torch.no_grad()
def _step(optimizer: Optimizer) -> None:
    groups = [
        (group, [weight for weight in group["params"] if weight.grad is not None])
        for group in optimizer.param_groups
    ]
    if not all(optimizer.state[weight] for _, weights in groups for weight in weights):
        optimizer.step()  # a weight's first gradient
        return
    for group, weights in groups:
        states = [optimizer.state[weight] for weight in weights]
        adam(
            weights,
            [weight.grad for weight in weights],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            fused=True,
            capturable=group["capturable"],
            decoupled_weight_decay=group["decoupled_weight_decay"],
            amsgrad=group["amsgrad"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )
