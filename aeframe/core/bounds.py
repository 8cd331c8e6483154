"""Limits of a number, written into a constructor's signature: `Annotated[int, AtLeast(1)]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Bound(ABC):
    """One limit of a number."""

    limit: float

    def __str__(self) -> str:
        return f"{self.limit}" if isinstance(self.limit, int) else f"{self.limit:g}"

    @abstractmethod
    def find_problem(self, value: float) -> str | None:
        """Describe the violation of the limit, or return None for an allowed value."""


class AtLeast(Bound):
    """value >= limit"""

    def find_problem(self, value: float) -> str | None:
        return None if value >= self.limit else f"must be at least {self}"


class Above(Bound):
    """value > limit"""

    def find_problem(self, value: float) -> str | None:
        return None if value > self.limit else f"must be above {self}"


class AtMost(Bound):
    """value <= limit"""

    def find_problem(self, value: float) -> str | None:
        return None if value <= self.limit else f"must be at most {self}"


class Below(Bound):
    """value < limit"""

    def find_problem(self, value: float) -> str | None:
        return None if value < self.limit else f"must be below {self}"


Rate = Annotated[float, AtLeast(1e-6), AtMost(1 - 1e-6)]
"""A share strictly between 0 and 1, also after rounding to float32."""
