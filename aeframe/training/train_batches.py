"""Batches of the training split, as Lightning's Trainer fetches them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pytorch_lightning.utilities import CombinedLoader


class TrainBatches(CombinedLoader):
    """Batches of one loader, with the time that training waited for them.

    waited: seconds in which this process waited for batches.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        super().__init__(loader, "max_size_cycle")
        self.waited = 0.0

    def __next__(self) -> Any:
        before = time.perf_counter()
        fetched = super().__next__()
        self.waited += time.perf_counter() - before
        return fetched
