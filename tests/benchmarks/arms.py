"""Arms of a row: each runs once and gives one number. Imports nothing, for its process."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

_held: Arm | None = None  # in the process of an arm alone


@dataclass(frozen=True)
class Reading:
    """One run. value: images/s, seconds or MiB, by its row.

    mse: per pixel on the test split after training; None where none is compared. faults: see `Trained`.
    """

    value: float
    mse: float | None = None
    faults: tuple[str, ...] = ()


class Arm(Protocol):
    """One side of a row."""

    @property
    def name(self) -> str:
        """Return the name that the table shows."""

    def missing(self) -> str | None:
        """Return the reason why it cannot run here, or None."""

    def run(self, seed: int) -> Reading:
        """Run once. seed: of the repeat; both arms of a pair get the same."""

    def close(self) -> None:
        """End the process of the arm."""


class Alone:
    """An arm in a process of its own, in which all its runs take place.

    What one arm sets for its process, such as how memory is allocated, does not reach the other.
    """

    def __init__(self, arm: Arm) -> None:
        self.arm, self.name = arm, arm.name
        self._process: ProcessPoolExecutor | None = None

    def missing(self) -> str | None:
        return self.arm.missing()

    def run(self, seed: int) -> Reading:
        if self._process is None:
            self._process = ProcessPoolExecutor(1, get_context("spawn"), _hold, (self.arm,))
        return self._process.submit(_run_held, seed).result()

    def close(self) -> None:
        if self._process is not None:
            self._process.shutdown()
            self._process = None


def _hold(arm: Arm) -> None:
    """Keep the arm in its process, with the data that it has read."""
    global _held
    _held = arm


def _run_held(seed: int) -> Reading:
    assert _held is not None
    return _held.run(seed)


class Closed:
    """An arm that keeps nothing between its runs."""

    def close(self) -> None:
        pass
