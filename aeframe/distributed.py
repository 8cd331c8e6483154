"""What the ranks of a distributed run tell each other; one process passes everything through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    import pytorch_lightning as pl


def is_sharded(trainer: pl.Trainer) -> bool:
    """Whether each rank holds some of the weights only: one alone cannot pass anything through them."""
    from pytorch_lightning.strategies import FSDPStrategy

    return isinstance(trainer.strategy, FSDPStrategy)


def ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean over the ranks, with its gradient: of batch means, when the ranks' batches are equal."""
    return value if ranks() == 1 else _Sum.apply(value) / ranks()


class _Sum(torch.autograd.Function):
    """The sum over the ranks; each rank's loss counts on each rank's value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return sum_over_ranks(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over the ranks, without gradient."""
    if ranks() > 1:
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value


def most_over_ranks(numbers: tuple[int, ...], device: torch.device) -> list[int]:
    """The largest of each number over the ranks: what one of them wants, all do."""
    if ranks() == 1:
        return list(numbers)
    most = torch.tensor(numbers, device=device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return [int(number) for number in most.tolist()]


def rows_of_all_ranks(value: Tensor) -> Tensor:
    """The global batch: rows of equal batches of all ranks, [world * B, ...], without gradient.

    In the order in which one process would have them: rank r has rows r, r + world, ...
    """
    if ranks() == 1:
        return value.detach()
    gathered = [torch.empty_like(value) for _ in range(ranks())]
    distributed.all_gather(gathered, value.detach().contiguous())
    return torch.stack(gathered, dim=1).flatten(0, 1)


def own_rows(everyone: Tensor) -> Tensor:
    """The part of this rank in what rows_of_all_ranks gathered."""
    return everyone[rank() :: ranks()]


def is_lost(error: BaseException) -> bool:
    """Whether it says that another process cannot be reached."""
    return isinstance(error, distributed.DistError) or "gloo/" in str(error)


def rank() -> int:
    """Which of them this one is."""
    return distributed.get_rank() if distributed.is_initialized() else 0
