"""What the ranks of a distributed run tell each other; one process passes everything through."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce


def ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean over the ranks, with its gradient: of batch means, when the ranks' batches are equal."""
    return value if ranks() == 1 else all_reduce(value) / ranks()


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over the ranks, without gradient."""
    if ranks() > 1:
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value


def rows_of_all_ranks(value: Tensor) -> Tensor:
    """The global batch: rows of equal batches of all ranks, [world * B, ...], without gradient."""
    if ranks() == 1:
        return value.detach()
    gathered = [torch.empty_like(value) for _ in range(ranks())]
    distributed.all_gather(gathered, value.detach().contiguous())
    return torch.cat(gathered)


def rank() -> int:
    """Which of them this one is."""
    return distributed.get_rank() if distributed.is_initialized() else 0
