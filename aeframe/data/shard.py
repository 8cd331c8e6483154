"""Shard: a file with rows of numbers, of which any part can be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.data.memory_map import get_torch_dtype
from aeframe.data.source import Shape

AGAIN = "Write the file again, or leave it out."


@dataclass(frozen=True)
class Shard(ABC):
    """One file with rows, [n, ...]. Its header is read, and its rows are not.

    stored: the type of the numbers in the file. bfloat16: they are the bits of this type. groups: numbers of
    rows that can only be read together; without them, any rows can be read.
    """

    path: Path
    shape: Shape
    stored: np.dtype[Any]
    bfloat16: bool = False
    groups: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the rows that are read."""
        return get_torch_dtype(self.stored)

    @property
    def type_name(self) -> str:
        """The name of the type, as the user knows it."""
        return "bfloat16" if self.bfloat16 else self.stored.name

    def suit(self, first: Shard, where: str) -> Shard:
        """Return this shard with rows in the order of the first one's. Raises UserError where it cannot."""
        return self

    @abstractmethod
    def read(self, start: int, place: np.ndarray) -> None:
        """Read the rows from `start` on, which lie in one group, into an array [n, ...] of `dtype`.

        Raises exceptions of many kinds.
        """
