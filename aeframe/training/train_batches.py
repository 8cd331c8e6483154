"""Batches of the training split, as Lightning's Trainer fetches them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

from pytorch_lightning.utilities import CombinedLoader


class TrainBatches(CombinedLoader):
    """Batches of one loader with a known length.

    Lightning's class serves several loaders at once. For one loader, it would double the time of a fetch.

    waited: seconds in which this process waited for batches.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        super().__init__(loader, "max_size_cycle")
        self.waited = 0.0
        self._batches: Iterator[Any] = iter(())
        self._fetched = 0

    def __len__(self) -> int:
        (loader,), (limit,) = self.flattened, self.limits or [math.inf]
        return int(min(len(loader), limit))

    def __iter__(self) -> Self:
        self._batches, self._fetched = iter(self.flattened[0]), 0
        return self

    def __next__(self) -> tuple[Any, int, int]:
        before = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - before
        self._fetched += 1
        return batch, self._fetched - 1, 0
