"""The arms that train."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.arms import Closed, Reading
from tests.benchmarks.stage import stage
from tests.benchmarks.work import Trained, Work, lacks
from tests.benchmarks.workspace import Workspace


@dataclass(frozen=True)
class Reference(Closed):
    """A training by another library.

    name: of a module in `references`. package: on which that depends.
    """

    name: str
    work: Work
    space: Workspace
    package: str = "torch"

    def missing(self) -> str | None:
        if find_spec(self.package) is None:
            return f"{self.package} is not installed"
        return lacks(self.work.device) or self.space.lacks_mnist()

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
    """

    work: Work
    space: Workspace
    words: tuple[str, ...] = ()
    images: int | None = None
    name: str = "aeframe"

    def missing(self) -> str | None:
        lacking = lacks(self.work.device)
        return lacking or (self.space.lacks_mnist() if self.images is None else None)

    def run(self, seed: int) -> Reading:
        return reading_of(self._train, self.work, self.space, seed)

    def _train(self, folder: Path, seed: int) -> Trained:
        from tests.benchmarks import contender

        data = ("dataset=mnist", f"dataset.root={self.space.data}")
        if self.images is not None:
            held = f"dataset.test_fraction={self.work.test / self.work.total}"
            data = ("dataset=array", f"dataset.path={self.space.array(self.images)}", held)
        words, compared = (*data, *self.words), self.images is None
        with stage() as screen:
            return contender.train(self.work, words, seed, folder, screen, compared=compared)


def reading_of(
    train: Callable[[Path, int], Trained], work: Work, space: Workspace, seed: int
) -> Reading:
    """Return the result of a training. Its folder is deleted, and the error is measured off the clock."""
    folder = space.run_folder()
    trained = train(folder, seed)
    shutil.rmtree(folder)
    faults = list(trained.faults)
    if trained.steps != work.steps:
        faults.append(f"made {trained.steps} steps, not {work.steps}")
    mse = None if trained.network is None else space.digits.mse(trained.network)
    return Reading(work.images / trained.seconds, mse, tuple(faults))
