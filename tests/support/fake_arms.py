"""Arms of the benchmarks that measure nothing, in a module that is imported at once in a new process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from tests.benchmarks.arms import Reading


@dataclass
class FakeArm:
    """Arm that gives one reading again and again, and records when."""

    name: str
    reading: Reading
    log: list[str] = field(default_factory=list)
    why: str | None = None

    def missing(self) -> str | None:
        return self.why

    def run(self, seed: int) -> Reading:
        self.log.append(f"{self.name}{seed}")
        return self.reading

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


class WhereArm(FakeArm):
    """Arm that reads the number of its process; its third run fails."""

    def run(self, seed: int) -> Reading:
        self.log.append("run")
        if len(self.log) == 3:
            raise RuntimeError("the third time")
        return Reading(float(os.getpid()), faults=(*self.log,))
