"""Samples of each batch: a function of (seed, epoch, rank), never of history."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from aeframe.core.noise import mix_seed
from aeframe.data.source import Share, choose_row_dtype


class EpochBatches(Sampler[Share]):
    """One rank's shares of the batches of positions in [0, n).

    A global batch has `batch_size` samples. Rank r takes the rows r, r + world, ..., so that the ranks
    together see the same batches as one process. In training, all ranks have equally many batches: a rank
    without a row of the last batch gets its first row, with weight 0. In evaluation, such a rank has one
    batch fewer. device: of the positions. begun: the epoch that an earlier process began, and its finished
    batches.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        training: bool = False,
        shuffle: bool = False,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.n, self.training = n, training
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch, self.begun = 0, (0, 0)
        self.device = device

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. Lightning calls this before each epoch."""
        self.epoch = epoch

    @property
    def first(self) -> int:
        """The first batch of the epoch that an earlier process has not finished."""
        begun, done = self.begun
        return done if self.epoch == begun else 0

    def _list_starts(self) -> range:
        rows = self.n if self.training else max(self.n - self.rank, 0)
        return range(0, rows, self.batch_size)

    def __len__(self) -> int:
        return len(self._list_starts())

    def __iter__(self) -> Iterator[Share]:
        return self.list_shares(None)

    def list_shares(self, index: Tensor | None) -> Iterator[Share]:
        """Iterate over the shares, with positions replaced by `index`, [n], looked up once."""
        dtype = choose_row_dtype(self.n)
        order = torch.arange(self.n, dtype=dtype)
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, "order", self.epoch))
            order = torch.randperm(self.n, generator=generator, dtype=dtype)
        order = order.to(self.device)  # moved once, to the device that gathers the batches
        if index is not None:
            order = index.index_select(0, order)
        for batch in order.split(self.batch_size)[self.first : len(self)]:
            own = batch if self.world == 1 else batch[self.rank :: self.world]
            yield Share(own if len(own) else batch[:1], len(batch))
