"""Samples as one tensor, and what a source of them offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from aeframe.errors import Problem

Shape = tuple[int, ...]


class Batch(NamedTuple):
    """x [B, *shape] as stored; label [B], -1 where there is none; row [B] in the source."""

    x: Tensor
    label: Tensor
    row: Tensor


@dataclass(frozen=True)
class Raw:
    """What a source holds.

    data: [N, *shape], in memory or memory-mapped. labels: int64 [N], or None.
    test: the source's own test split, if it has one. low, high: the range of the values where it is
    known beforehand. classes: names of the labels. origin: the key and the file, for messages.
    """

    data: Tensor
    labels: Tensor | None = None
    test: Raw | None = None
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()
    origin: str = "dataset"


class Samples(Dataset[Batch]):
    """One split: rows `index` of a common tensor, which is not copied.

    Indexing with a list of positions gives a whole Batch.
    """

    def __init__(self, raw: Raw, index: Tensor) -> None:
        self.raw, self.index = raw, index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, positions: Sequence[int] | slice) -> Batch:
        rows = self.index[positions if isinstance(positions, slice) else torch.as_tensor(positions)]
        labels = self.raw.labels
        label = torch.full_like(rows, -1) if labels is None else labels[rows]
        return Batch(self.raw.data.index_select(0, rows), label, rows)


class Source(ABC):
    """A data set, before it is split and batched. Constructing one reads nothing."""

    @abstractmethod
    def shape(self) -> Shape | None:
        """Of one sample, found without reading the samples; None where that is impossible."""

    @abstractmethod
    def problems(self) -> list[Problem]:
        """What can be seen to be wrong without reading the samples."""

    @abstractmethod
    def load(self) -> Raw:
        """Read the samples. Raises UserError that names the file and what to do."""
