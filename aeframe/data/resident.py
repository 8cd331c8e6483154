"""Batches of samples that are in memory."""

from __future__ import annotations

from collections.abc import Iterator

from aeframe.data.sampler import EpochBatches
from aeframe.data.source import Batch, Samples


class Resident:
    """The batches of one split, each gathered at once from memory or from the device of the data.

    It has the attributes of a DataLoader that Lightning uses.
    """

    batch_sampler = None

    def __init__(self, samples: Samples, sampler: EpochBatches) -> None:
        self.samples, self.sampler = samples, sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for rows, total in self.sampler.list_shares(self.samples.index):
            yield self.samples.make_batch(rows, total)
