"""Splits of shards that are too large for memory, and their batches from windows of rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from aeframe.core.noise import mix_seed
from aeframe.data.sampler import EpochBatches
from aeframe.data.shard_rows import ShardRows
from aeframe.data.source import Batch, Raw, Samples, Share, choose_row_dtype

MEASURED = 2**27  # bytes of the blocks that statistics are measured on
PLACES = 256  # runs of consecutive rows among rows that are spread evenly


class StreamedSamples(Samples):
    """One split of shards: whole blocks of consecutive rows. rows: of all shards. blocks: ascending."""

    is_streamed = True

    def __init__(self, raw: Raw, rows: ShardRows, blocks: Tensor) -> None:
        self.raw, self.rows, self.blocks = raw, rows, blocks
        self._starts, lengths = rows.starts[blocks], rows.lengths[blocks]
        self._ends = lengths.cumsum(0)
        self._begins = self._ends - lengths

    @property
    def targets(self) -> Samples | None:
        target = self.raw.target
        if target is None:
            return None
        assert isinstance(target.data, ShardRows)
        return StreamedSamples(target, target.data, self.blocks)

    @property
    def index(self) -> Tensor:
        return self.find_rows(torch.arange(len(self)))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, chosen: Share | slice) -> Batch:
        if isinstance(chosen, slice):
            positions = torch.arange(*chosen.indices(len(self)))
            chosen = Share(positions, len(positions))
        return super().__getitem__(chosen)

    def find_rows(self, positions: Tensor) -> Tensor:
        block = torch.searchsorted(self._ends, positions.long(), right=True)
        rows = self._starts[block] + positions - self._begins[block]
        return rows.to(choose_row_dtype(len(self.rows)))

    def spread_evenly(self, n: int) -> Tensor:
        """Return the positions of at most n samples: runs of consecutive ones, spread evenly."""
        if n <= PLACES or n >= len(self):
            return super().spread_evenly(n)
        run = n // PLACES
        first = torch.linspace(0, len(self) - run, PLACES, dtype=torch.float64).long()
        return (first[:, None] + torch.arange(run)).flatten()

    def read_measured(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = int(self.rows.lengths[self.blocks].max()) * self.rows.sample_bytes
        count = max(1, min(len(self.blocks), MEASURED // size))
        chosen = torch.linspace(0, len(self.blocks) - 1, count, dtype=torch.float64).long()
        for block in self.blocks[chosen].tolist():
            for chunk in self.rows.read_block(block).split(self.rows.chunk):
                yield chunk, chunk


class Window(NamedTuple):
    """Blocks whose rows are in memory together, ascending. start, stop: positions of the rows in an epoch."""

    blocks: Tensor
    start: int
    stop: int


class Streamed:
    """The batches of one split of shards, in an order that is a function of seed and epoch.

    The blocks of the split are shuffled, and fill one window after another. The rows of a window are
    shuffled in memory, while `readers` threads read the next window. Each row comes once. A resumed epoch
    begins with the window of its next row. Each rank reads all windows. It has the attributes of a DataLoader
    that Lightning uses.
    """

    batch_sampler = None

    def __init__(self, samples: StreamedSamples, sampler: EpochBatches, readers: int) -> None:
        self.samples, self.sampler, self.readers = samples, sampler, readers
        self.rows, targets = samples.rows, samples.targets
        self.all_rows = [self.rows]  # and those of the targets
        if isinstance(targets, StreamedSamples):
            self.all_rows.append(targets.rows)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        sampler, size = self.sampler, self.sampler.batch_size
        position, parts = sampler.first * size, list[Batch]()
        for number, (window, data) in self._read_windows(position):
            rows = self._list_rows(window)
            order = self._shuffle(window.stop - window.start, "window", number)
            while position < window.stop:
                start = position - position % size
                total = min(size, sampler.n - start)
                stop = min(start + total, window.stop)
                chosen = order[position - window.start : stop - window.start]
                own = chosen[(sampler.rank + start - position) % sampler.world :: sampler.world]
                if sampler.rank >= total and position == start:  # as in EpochBatches
                    own = chosen[:1]
                read = [part.index_select(0, own) for part in data]
                x, *target = (
                    each.float() if each.dtype == torch.bfloat16 else each for each in read
                )
                parts.append(Batch(x, rows.index_select(0, own), total, *target))
                position = stop
                if position == start + total:
                    yield _join(parts)
                    parts.clear()

    def _shuffle(self, n: int, *key: str | int) -> Tensor:
        """Draw the order of the epoch's blocks, or of the rows of one window."""
        if not self.sampler.shuffle:
            return torch.arange(n)
        seed = mix_seed(self.sampler.seed, *key, self.sampler.epoch)
        return torch.randperm(n, generator=torch.Generator().manual_seed(seed))

    def _list_windows(self) -> list[Window]:
        """List the windows of the epoch."""
        blocks = self.samples.blocks
        blocks = blocks[self._shuffle(len(blocks), "order")]
        ends = self.rows.lengths[blocks].cumsum(0)
        filled = (ends - 1) // self.rows.window
        counts = filled.unique_consecutive(return_counts=True)[1]
        stops = ends[counts.cumsum(0) - 1].tolist()
        parts = [part.sort().values for part in blocks.split(counts.tolist())]
        return list(map(Window, parts, [0, *stops], stops))

    def _read_windows(self, position: int) -> Iterator[tuple[int, tuple[Window, list[Tensor]]]]:
        """Read the windows of the epoch from that of a position on, each with its number, its rows and their
        targets.
        """
        todo = [(i, w) for i, w in enumerate(self._list_windows()) if w.stop > position]
        most = max((window.stop - window.start for _, window in todo), default=0)
        places = [[rows.borrow(most) for rows in self.all_rows] for _ in todo[:2]]
        pool = ThreadPoolExecutor(self.readers)
        try:
            reads = [self._begin(pool, window, places[i]) for i, (_, window) in enumerate(todo[:1])]
            for i, (number, window) in enumerate(todo):
                if i + 1 < len(todo):
                    reads.append(self._begin(pool, todo[i + 1][1], places[(i + 1) % 2]))
                for read in reads.pop(0):
                    read.result()
                yield number, (window, places[i % 2])
        finally:
            pool.shutdown(cancel_futures=True)
            for place in places:
                for rows, part in zip(self.all_rows, place, strict=True):
                    rows.spare.append(part)

    def _begin(
        self, pool: ThreadPoolExecutor, window: Window, places: list[Tensor]
    ) -> list[Future[None]]:
        """Begin to read the blocks of a window, one after another, to their places."""
        reads, done = list[Future[None]](), 0
        for block, length in zip(
            window.blocks.tolist(), self.rows.lengths[window.blocks].tolist(), strict=True
        ):
            first = int(self.rows.starts[block])
            for rows, place in zip(self.all_rows, places, strict=True):
                reads.append(pool.submit(rows.read, first, place[done : done + length]))
            done += length
        return reads

    def _list_rows(self, window: Window) -> Tensor:
        """List the numbers of a window's rows, in the order of their places."""
        starts, lengths = self.rows.starts[window.blocks], self.rows.lengths[window.blocks]
        shift = (starts - lengths.cumsum(0) + lengths).repeat_interleave(lengths)
        return (shift + torch.arange(len(shift))).to(choose_row_dtype(len(self.rows)))


def _join(parts: list[Batch]) -> Batch:
    """Join the parts of a batch, which come from several windows."""
    if len(parts) == 1:
        return parts[0]
    x, row = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "row"))
    targets = [part.target for part in parts if part.target is not None]
    return Batch(x, row, parts[0].total, torch.cat(targets) if targets else None)
