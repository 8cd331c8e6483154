"""What the ranks of a distributed run tell each other; one process passes everything through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    pass


def get_world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


class _GlobalBatch:
    """The batch that the ranks share at the moment. rows: of all ranks together; None: equally many each."""

    rows: int | None = None


def begin_batch(rows: int) -> None:
    """Share a batch of so many rows: rank r has rows r, r + world, ... of it.

    A rank with none of them is given the first row, for which nothing here counts.
    """
    _GlobalBatch.rows = rows


def count_own_rows(rows: int, rank: int, world: int) -> int:
    """Count the rows of a global batch that one rank has."""
    return len(range(rank, rows, world))


def count_batch_rows(own: int) -> int:
    """Count the rows of the global batch, of which this rank was given `own`."""
    if get_world_size() == 1:
        return own
    return own * get_world_size() if _GlobalBatch.rows is None else _GlobalBatch.rows


def average_over_ranks(value: Tensor) -> Tensor:
    """The mean over the rows of all ranks, with its gradient, of the mean over this rank's rows."""
    if get_world_size() == 1:
        return value
    rows = _GlobalBatch.rows
    share = (
        1 / get_world_size()
        if rows is None
        else count_own_rows(rows, get_rank(), get_world_size()) / rows
    )
    total: Tensor = _Sum.apply(value * share)
    return total


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
    if get_world_size() > 1:
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value


def maximize_over_ranks(numbers: tuple[int, ...], device: torch.device) -> list[int]:
    """The largest of each number over the ranks: what one of them wants, all do."""
    if get_world_size() == 1:
        return list(numbers)
    most = torch.tensor(numbers, device=device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return [int(number) for number in most.tolist()]


def gather_values(value: Tensor) -> list[Tensor]:
    """The values that the ranks have, of one shape, without gradient."""
    if get_world_size() == 1:
        return [value.detach()]
    gathered = [torch.empty_like(value) for _ in range(get_world_size())]
    distributed.all_gather(gathered, value.detach().contiguous())
    return gathered


def gather_rows(value: Tensor) -> Tensor:
    """The global batch, without gradient, from what each rank has of it, [B, ...].

    In the order in which one process would have them: rank r has rows r, r + world, ...
    """
    if get_world_size() == 1:
        return value.detach()
    total, world = count_batch_rows(len(value)), get_world_size()
    own, most = count_own_rows(total, get_rank(), world), count_own_rows(total, 0, world)
    if own < most:  # all send equally many; the rest is cut off
        value = torch.cat([value[:own], value.new_zeros((most - own, *value.shape[1:]))])
    return torch.stack(gather_values(value), dim=1).flatten(0, 1)[:total]


def select_own_rows(everyone: Tensor) -> Tensor:
    """The part that this rank was given of what rows_of_all_ranks gathered."""
    own = everyone[get_rank() :: get_world_size()]
    return own if len(own) else everyone[:1]


def is_connection_lost(error: BaseException) -> bool:
    """Whether it says that another process cannot be reached."""
    return isinstance(error, distributed.DistError) or "gloo/" in str(error)


def get_rank() -> int:
    """Which of them this one is."""
    return distributed.get_rank() if distributed.is_initialized() else 0
