"""An arm of a row: what is run once, and the one number that it gives."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

from tests.benchmarks.stage import stage
from tests.benchmarks.work import Trained, Work
from tests.benchmarks.workspace import Workspace

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
        """As the table shows it."""

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""

    def run(self, seed: int) -> Reading:
        """Run once. seed: of the repeat; both arms of a pair get the same."""

    def close(self) -> None:
        """Nothing more is run."""


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
    """In the arm's process: keep it, and with it the data that it has read."""
    global _held
    _held = arm


def _run_held(seed: int) -> Reading:
    assert _held is not None
    return _held.run(seed)


class Closed:
    """An arm that keeps nothing between its runs."""

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Reference(Closed):
    """A training by other means.

    name: of a module in `references`. package: on which that depends.
    """

    name: str
    work: Work
    space: Workspace
    package: str = "torch"

    def missing(self) -> str | None:
        if find_spec(self.package) is None:
            return f"{self.package} is not installed"
        return self.space.lacks_mnist()

    def run(self, seed: int) -> Reading:
        return reading_of(self._train, self.work, self.space, seed)

    def _train(self, folder: Path, seed: int) -> Trained:
        with stage():
            module = importlib.import_module(f"tests.benchmarks.references.{self.name}")
            return module.train(self.work, self.space, seed, folder)


@dataclass(frozen=True)
class Aeframe(Closed):
    """A training by aeframe.

    words: overrides beyond those of the work. images: of random data to train on; None is MNIST.
    lacking: why it cannot run yet, for settings that aeframe does not have yet.
    """

    work: Work
    space: Workspace
    words: tuple[str, ...] = ()
    images: int | None = None
    name: str = "aeframe"
    lacking: str | None = None

    def missing(self) -> str | None:
        return self.lacking or (self.space.lacks_mnist() if self.images is None else None)

    def run(self, seed: int) -> Reading:
        return reading_of(self._train, self.work, self.space, seed)

    def _train(self, folder: Path, seed: int) -> Trained:
        from tests.benchmarks import contender

        data = ("dataset=mnist", f"dataset.root={self.space.data}")
        if self.images is not None:
            data = ("dataset=array", f"dataset.path={self.space.array(self.images)}")
        words, compared = (*data, *self.words), self.images is None
        with stage() as screen:
            return contender.train(self.work, words, seed, folder, screen, compared=compared)


def reading_of(
    train: Callable[[Path, int], Trained], work: Work, space: Workspace, seed: int
) -> Reading:
    """What a training gives. Its folder is deleted, and the error is measured off the clock."""
    folder = space.run_folder()
    trained = train(folder, seed)
    shutil.rmtree(folder)
    faults = list(trained.faults)
    if trained.steps != work.steps:
        faults.append(f"made {trained.steps} steps, not {work.steps}")
    mse = None if trained.network is None else space.digits.mse(trained.network)
    return Reading(work.images / trained.seconds, mse, tuple(faults))
