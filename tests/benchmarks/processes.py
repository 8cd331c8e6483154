"""Arms that are processes of their own, for times of starting and for memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.arms import Closed, Reading
from tests.benchmarks.workspace import Workspace

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 600  # seconds


@dataclass(frozen=True)
class Process(Closed):
    """A command of python, from its start to its end.

    arguments: of python, made for each run, with a new folder that is deleted afterwards.
    printed: whether the reading is the last word that it prints, in the row's unit; else it is its seconds.
    lacking: why it cannot run here, found when asked.
    """

    name: str
    arguments: Callable[[Path], tuple[str, ...]]
    space: Workspace
    printed: bool = False
    lacking: Callable[[], str | None] = lambda: None

    def missing(self) -> str | None:
        return self.lacking()

    def run(self, seed: int) -> Reading:
        folder = self.space.run_folder()
        command = [sys.executable, *self.arguments(folder)]
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE
        )
        seconds = time.perf_counter() - started
        shutil.rmtree(folder)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        return Reading(float(done.stdout.split()[-1]) if self.printed else seconds)


def probe(name: str, *arguments: str) -> tuple[str, ...]:
    """The arguments of python that run a module of `probes`."""
    return ("-m", f"tests.benchmarks.probes.{name}", *arguments)
