"""Communication between the ranks of a distributed run; with one process, values pass unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def get_world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


class _GlobalBatch:
    """The current global batch. rows: its size; None if all ranks have equally many rows."""

    rows: int | None = None


def begin_batch(rows: int) -> None:
    """Set the size of the global batch. Rank r has its rows r, r + world, ...

    A rank without a row is given the first row. That row gets weight 0 here.
    """
    _GlobalBatch.rows = rows


def count_own_rows(rows: int, rank: int, world: int) -> int:
    """Count the rows that one rank has of a global batch."""
    return len(range(rank, rows, world))


def count_batch_rows(own: int) -> int:
    """Count the rows of the global batch. own: rows on this rank."""
    if get_world_size() == 1:
        return own
    return own * get_world_size() if _GlobalBatch.rows is None else _GlobalBatch.rows


def average_over_ranks(value: Tensor) -> Tensor:
    """Average over the rows of all ranks, with gradient. value: the mean over this rank's rows."""
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


def average_weighted(total: Tensor, weight: Tensor, rows: int) -> Tensor:
    """Divide a sum by the sum of its weights, each over the rows of all ranks. rows: of this rank."""
    if get_world_size() == 1:
        return total / weight
    return average_over_ranks(total / rows) / average_over_ranks(weight / rows)


class _Sum(torch.autograd.Function):
    """The sum over the ranks, with gradient: the loss of every rank depends on the value of every rank."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return sum_over_ranks(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad)


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum a value over the ranks, without gradient."""
    if get_world_size() > 1:
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value


def maximize_over_ranks(numbers: tuple[int, ...], device: torch.device) -> list[int]:
    """Return the maximum of each number over the ranks, so that a request of one rank reaches all."""
    if get_world_size() == 1:
        return list(numbers)
    most = torch.tensor(numbers, device=device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return [int(number) for number in most.tolist()]


def gather_values(value: Tensor) -> list[Tensor]:
    """Gather one value from each rank, without gradient; all have the same shape."""
    if get_world_size() == 1:
        return [value.detach()]
    gathered = [torch.empty_like(value) for _ in range(get_world_size())]
    distributed.all_gather(gathered, value.detach().contiguous())
    return gathered


def gather_rows(value: Tensor) -> Tensor:
    """Gather the global batch from the rows of each rank, [B, ...], without gradient.

    The order is that of a single process: rank r has the rows r, r + world, ...
    """
    if get_world_size() == 1:
        return value.detach()
    total, world = count_batch_rows(len(value)), get_world_size()
    own, most = count_own_rows(total, get_rank(), world), count_own_rows(total, 0, world)
    if own < most:  # all ranks send equally many rows; the padding is cut off
        value = torch.cat([value[:own], value.new_zeros((most - own, *value.shape[1:]))])
    return torch.stack(gather_values(value), dim=1).flatten(0, 1)[:total]


def select_own_rows(everyone: Tensor) -> Tensor:
    """Select the rows of this rank from the global batch that gather_rows returns."""
    own = everyone[get_rank() :: get_world_size()]
    return own if len(own) else everyone[:1]


def is_connection_lost(error: BaseException) -> bool:
    """Check whether an error means that another process cannot be reached."""
    return isinstance(error, distributed.DistError) or "gloo/" in str(error)


def get_rank() -> int:
    """Return the rank of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0
