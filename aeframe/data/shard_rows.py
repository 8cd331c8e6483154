"""Rows in shards: many files that are read as one array, in blocks of consecutive rows."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import Problem, TrainingError, UserError, build_read_error
from aeframe.data.layouts import Layout, get_sample_shape, is_channels_last, resolve_layout
from aeframe.data.memory_map import as_tensor, require_room
from aeframe.data.rows import Rows
from aeframe.data.shard import AGAIN, Shard

BLOCKS = 256  # blocks in a window, at least


class ShardRows(Rows):
    """The rows of all shards, one after another. Each read checks that the numbers are finite.

    window: bytes of rows that are shuffled together. A block has one part in BLOCKS of it, or is a part that
    its file cannot divide. starts, lengths: first row and number of rows of each block, int64 [blocks].
    """

    def __init__(self, shards: Sequence[Shard], layout: Layout, window: float) -> None:
        self.shards, first = tuple(shards), shards[0]
        stored = (sum(map(len, shards)), *first.shape[1:])
        chosen = resolve_layout(layout, stored)
        self.is_channels_last = is_channels_last(chosen, stored)
        self.layout, self.stored = chosen, stored
        self.shape = (stored[0], *get_sample_shape(chosen, stored))
        self.dtype = torch.bfloat16 if first.bfloat16 else as_tensor(np.empty(0, first.dtype)).dtype
        self._ends = list(accumulate(map(len, shards)))
        self._stamps = [_get_stamp(shard) for shard in shards]
        self.spare = list[Tensor]()  # memory of windows, for the next epoch or split
        self._divide(self.shards, int(window / self.sample_bytes))

    def _divide(self, shards: Sequence[Shard], window: int) -> None:
        """Divide the rows into blocks as these files can be divided. window: rows in memory together."""
        self.window = max(1, window)
        most = max(1, self.window // BLOCKS)
        self.lengths = torch.from_numpy(np.concatenate([_divide(shard, most) for shard in shards]))
        self.starts = self.lengths.cumsum(0) - self.lengths

    def pair_with(self, targets: ShardRows) -> None:
        """Divide these rows and their targets into the same blocks, which share the window.

        Raises UserError for files with other numbers of rows, or with row groups that do not agree.
        """
        pairs = list(zip(self.shards, targets.shards, strict=False))
        for own, other in pairs:
            if len(own) != len(other):
                what = f"holds {len(other):,} targets, but {own.path} holds {len(own):,} samples"
                remedy = "Give one target for each sample, in files of the same order."
                raise UserError(str(other.path), what, remedy)
            if own.groups and other.groups and own.groups != other.groups:
                what = f"has row groups of other sizes than {own.path}"
                raise UserError(str(other.path), what, "Write both with the same row_group_size.")
        if len(self.shards) != len(targets.shards):
            what = f"{len(targets.shards):,} files of targets for {len(self.shards):,} of samples"
            remedy = "Give a file of targets for each file of samples, in the same order."
            raise UserError("dataset.target", what, remedy)
        fixed = [own if own.groups else other for own, other in pairs]
        both = self.sample_bytes + targets.sample_bytes
        window = self.window * self.sample_bytes // both
        for rows in (self, targets):
            rows._divide(fixed, window)

    def read(self, start: int, place: Tensor) -> None:
        """Read the rows from `start` on, which lie in one block, into a tensor [n, *sample].

        Raises UserError that names the file and the row of NaN, infinity and values beyond float32, and of a
        file that cannot be read; TrainingError if the file was changed.
        """
        number = bisect_right(self._ends, start)
        shard, before = self.shards[number], self._ends[number] - len(self.shards[number])
        where = str(shard.path)
        try:
            if _get_stamp(shard) != self._stamps[number]:
                what = "was changed while it was in use"
                raise TrainingError(str(Problem(where, what, "Start again.")))
            shard.read(start - before, self._as_stored(place))
        except (UserError, TrainingError, MemoryError):
            raise
        except Exception as error:  # broken files raise nearly anything
            raise build_read_error(where, error, AGAIN) from error
        _require_finite(place, where, start - before)

    def _as_stored(self, place: Tensor) -> np.ndarray:
        """Return an array with the memory of some rows, in the layout of the files."""
        array = (place.view(torch.uint16) if place.dtype == torch.bfloat16 else place).numpy()
        return (
            np.moveaxis(array, 1, -1)
            if self.is_channels_last
            else array.reshape(-1, *self.stored[1:])
        )

    def read_block(self, block: int) -> Tensor:
        """Read the rows of a block."""
        data = torch.empty((int(self.lengths[block]), *self.sample), dtype=self.dtype)
        self.read(int(self.starts[block]), data)
        return data

    def borrow(self, n: int) -> Tensor:
        """Return memory for n rows. Put it into `spare` after use: new memory takes longer to fill."""
        while self.spare:
            if len(place := self.spare.pop()) >= n:
                return place
        with torch.inference_mode(False):  # threads, which fill it, are not in this mode
            return torch.empty((n, *self.sample), dtype=self.dtype)

    def find_blocks(self, rows: Tensor) -> Tensor:
        """Find the blocks of rows."""
        return torch.searchsorted(self.starts, rows, right=True) - 1

    def select(self, rows: Tensor) -> Tensor:
        found = torch.empty((len(rows), *self.sample), dtype=self.dtype)
        rows, order = rows.long().sort()
        begin = 0
        _, counts = self.find_blocks(rows).unique_consecutive(return_counts=True)
        for count in counts.tolist():
            own, begin = slice(begin, begin + count), begin + count
            first, last = int(rows[own][0]), int(rows[own][-1])
            part = torch.empty((last + 1 - first, *self.sample), dtype=self.dtype)
            self.read(first, part)
            found[order[own]] = part[rows[own] - first]
        return found

    def read_chunks(self) -> Iterator[tuple[int, Tensor]]:
        for block, start in enumerate(self.starts.tolist()):
            for i, part in enumerate(self.read_block(block).split(self.chunk)):
                yield start + i * self.chunk, part

    def read_all(self) -> Tensor:
        require_room(self.nbytes)
        data = torch.empty(self.shape, dtype=self.dtype)
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            self.read(start, data[start : start + length])
        return data


def _divide(shard: Shard, most: int) -> np.ndarray:
    """Divide the rows of a shard into blocks of at most `most` rows, or as the file divides them."""
    if shard.groups:
        return np.array(shard.groups)
    ends = np.append(np.arange(most, len(shard), most), len(shard))
    return np.diff(ends, prepend=0)


def _get_stamp(shard: Shard) -> tuple[int, int]:
    status = os.stat(shard.path)
    return status.st_size, status.st_mtime_ns


def _require_finite(data: Tensor, where: str, first: int) -> None:
    """Raise UserError for rows with NaN, infinity or values beyond float32. first: in its file."""
    if not data.is_floating_point():
        return
    total = data.sum(dtype=torch.float32)  # NaN and infinity remain in a sum
    if bool(total.isfinite()):
        return
    wrong = data.float().isfinite().logical_not().flatten(1).any(1)
    if bool(wrong.any()):
        row, others = first + int(wrong.nonzero()[0]), int(wrong.sum()) - 1
        more = f", and {others:,} rows after it do" if others else ""
        what = f"row {row:,} (from 0) holds NaN, infinity or values beyond float32{more}"
        raise UserError(where, what, "Remove such rows or replace the values before training.")
