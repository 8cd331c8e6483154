"""Limits of a number, written into a constructor's signature: `Annotated[int, AtLeast(1)]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound(ABC):
    """One limit of a number."""

    limit: float

    @abstractmethod
    def problem(self, value: float) -> str | None:
        """What is wrong with the value, or None."""


class AtLeast(Bound):
    """value >= limit"""

    def problem(self, value: float) -> str | None:
        return None if value >= self.limit else f"must be at least {self.limit:g}"


class Above(Bound):
    """value > limit"""

    def problem(self, value: float) -> str | None:
        return None if value > self.limit else f"must be above {self.limit:g}"


class AtMost(Bound):
    """value <= limit"""

    def problem(self, value: float) -> str | None:
        return None if value <= self.limit else f"must be at most {self.limit:g}"


class Below(Bound):
    """value < limit"""

    def problem(self, value: float) -> str | None:
        return None if value < self.limit else f"must be below {self.limit:g}"
