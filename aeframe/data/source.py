"""Samples as one tensor, and the base class of sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from aeframe.core.errors import Problem
from aeframe.data.augmentation import Change
from aeframe.data.memory_map import FileMap, as_tensor
from aeframe.data.rows import MappedRows, MemoryRows, Rows
from aeframe.data.table_schema import Schema

Shape = tuple[int, ...]
ClassNames = Sequence[str | int]


def choose_row_dtype(count: int) -> torch.dtype:
    """Choose the type of row numbers: 32 bits suffice for most data sets and save memory."""
    return torch.int32 if count < 2**31 else torch.int64


class Share(NamedTuple):
    """One rank's part of a batch: positions in a split, and the size of the global batch."""

    positions: Tensor
    total: int

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by value: the thread that shares tensors complains if the other process ends."""
        return _rebuild_share, (self.positions.numpy(), self.total)


def _rebuild_share(positions: np.ndarray, total: int) -> Share:
    return Share(as_tensor(positions), total)


class Batch(NamedTuple):
    """One rank's part of a batch: x [B, *shape] as stored, and the rows in the source, [B].

    total: the size of the global batch. target: [B, *shape of a target] as stored, if the data has targets.
    """

    x: Tensor
    row: Tensor
    total: int
    target: Tensor | None = None


@dataclass(frozen=True)
class Raw:
    """The samples of a source.

    data: [N, *shape], in memory, memory-mapped, or in many files; see `rows`. labels: int64 [N], or None.
    test, val: official splits, if there are any. low, high: the range of the values, if known beforehand.
    classes: names of the labels. origin: the key and the file, for messages. mapping: the memory map of
    `data`, or None for data in memory. together: number of consecutive rows from one image, which stay in one
    split. assumed: whether low and high are those of the storage type and were not given. levels: the
    measured values of black and white in image files. columns: those of a table. gaps: whether NaN means a
    missing value; elsewhere NaN is refused. names: of the columns of other vectors, or of a signal's
    channels. axes: of a sample in its file, if it is a vector of several. target: the targets, row by row, if
    they are not the samples.
    """

    data: Tensor | Rows
    labels: Tensor | None = None
    test: Raw | None = None
    val: Raw | None = None
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()
    origin: str = "dataset"
    mapping: FileMap | None = None
    together: int = 1
    assumed: bool = False
    levels: tuple[float, float] | None = None
    columns: Schema | None = None
    gaps: bool = False
    names: tuple[str, ...] = ()
    axes: Shape = ()
    target: Raw | None = None

    @cached_property
    def rows(self) -> Rows:
        """The samples, wherever they are."""
        if isinstance(self.data, Rows):
            return self.data
        if self.mapping is None:
            return MemoryRows(self.data)
        return MappedRows(self.data, self.mapping, self.origin)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """The bytes of the samples and targets, without the test split; in memory they take as much."""
        return self.rows.nbytes + (0 if self.target is None else self.target.nbytes)

    def release(self) -> None:
        """Release memory of samples that can be read again, also of the test split.

        The pages of a memory map leave the resident memory.
        """
        self.rows.release()
        for other in (self.val, self.test, self.target):
            if other is not None:
                other.release()

    def copy_to(self, device: torch.device) -> Raw:
        """Return a copy with the samples in the memory of a device."""
        target = None if self.target is None else self.target.copy_to(device)
        return replace(self, data=self.rows.copy_to(device), mapping=None, target=target)

    def copy_to_memory(self) -> Raw:
        """Return a copy with the samples of files in one contiguous tensor.

        A validation split is copied, too. A test split stays where it is: it is read once, at the end. The
        peak is nbytes and a chunk. Data that is in memory is not copied.
        """
        if self.rows.is_in_memory and self.target is None:
            return self
        val = None if self.val is None else self.val.copy_to_memory()
        target = None if self.target is None else self.target.copy_to_memory()
        return replace(self, data=self.rows.read_all(), mapping=None, val=val, target=target)

    def read_chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Iterate over the samples in order, in chunks, each with its first row."""
        return self.rows.read_chunks()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the location of mapped data: the other process maps the file again."""
        state = {key: value for key, value in vars(self).items() if key != "rows"}
        if self.mapping is not None and isinstance(self.data, Tensor):
            begin = self.data.data_ptr() - np.frombuffer(self.mapping, np.uint8).ctypes.data
            layout = (begin, self.data.dtype, self.data.shape, self.data.stride())
            state |= {"data": None, "mapping": (self.mapping.path, *layout)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.mapping is not None:
            path, begin, dtype, shape, stride = state["mapping"]
            with open(path, "rb") as stream:
                mapping = FileMap.map_file(stream)
            span = 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
            raw = np.frombuffer(mapping, np.uint8, span * dtype.itemsize, begin)
            data = as_tensor(raw).view(dtype).as_strided(shape, stride)
            vars(self).update(data=data, mapping=mapping)


class Samples(Dataset[Batch]):
    """One split: some rows of a source. Indexing returns a whole Batch.

    is_streamed: whether the split is too large to be read as a whole.
    """

    is_streamed = False

    def __init__(self, raw: Raw, index: Tensor) -> None:
        self.raw, self._index = raw, index

    @property
    def index(self) -> Tensor:
        """The rows in the source, [n]."""
        return self._index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, chosen: Share | slice) -> Batch:
        if isinstance(chosen, slice):
            rows = self._index[chosen]
            return self.make_batch(rows, len(rows))
        return self.make_batch(self.find_rows(chosen.positions), chosen.total)

    def find_rows(self, positions: Tensor) -> Tensor:
        """Find the rows in the source of positions in the split."""
        return self._index.index_select(0, positions)

    def read_measured(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the source in chunks, each with its samples of this split, to measure statistics."""
        used = torch.zeros(len(self.raw), dtype=torch.bool)
        used[self._index] = True
        for start, chunk in self.raw.read_chunks():
            yield chunk, chunk[used[start : start + len(chunk)]]

    def spread_evenly(self, n: int) -> Tensor:
        """Return the positions of at most n samples, spread evenly: a source may be sorted by class."""
        last = len(self) - 1
        return torch.linspace(0, last, min(n, last + 1), dtype=torch.float64).round().long()

    def make_batch(self, rows: Tensor, total: int) -> Batch:
        """Return the batch of these rows of the shared tensor, bfloat16 as float32. total: see `Batch`."""
        x, targets = self._gather(rows), self.targets
        target = None if targets is None else targets.make_batch(rows, total).x
        return Batch(x.float() if x.dtype == torch.bfloat16 else x, rows, total, target)

    @property
    def targets(self) -> Samples | None:
        """The targets of these samples, in the same order, or None if the samples are their own."""
        return None if self.raw.target is None else Samples(self.raw.target, self.index)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers in a batch: that of the stored ones, or float32 for bfloat16."""
        stored = self.raw.rows.dtype
        return torch.float32 if stored == torch.bfloat16 else stored

    def _gather(self, rows: Tensor) -> Tensor:
        return self.raw.rows.select(rows)


class Source(ABC):
    """A data set before it is split and batched. The constructor reads nothing."""

    @abstractmethod
    def shape(self) -> Shape | None:
        """Return the shape of one sample without reading the samples, or None if this is impossible."""

    @property
    def suited_changes(self) -> tuple[Change, ...]:
        """Random changes that turn a training sample into another one of its kind."""
        return ()

    @property
    def identity(self) -> str | None:
        """Text that identifies loaded samples that are computed, whose last bits depend on the processor.

        None for samples that are read: a checksum of their bits identifies them.
        """
        return None

    @property
    def has_target(self) -> bool:
        """Check whether each sample has a target beside it, which the network is to write."""
        return False

    def target_shape(self) -> Shape | None:
        """Return the shape of one target, like `shape`; None without targets."""
        return None

    def description(self) -> str:
        """Describe the source and its samples in a few words."""
        return type(self).__name__

    def list_findings(self) -> list[str]:
        """List what was found in the files and decided by it, in sentences for the first lines of a run."""
        return []

    def problems(self) -> list[Problem]:
        """Find all mistakes that can be found without reading the samples."""
        return []

    def skip_classes(self, only: ClassNames | None, exclude: ClassNames | None) -> None:
        """Skip the reading of classes that are not used, where each sample is read by itself. Called before
        `load`, which returns zeros for their samples. only, exclude: see DataModule.
        """
        return

    @abstractmethod
    def load(self) -> Raw:
        """Read the samples. Raises UserError with the file and what to do."""
