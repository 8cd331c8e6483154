"""The method: pairs back to back, each with its own ratio."""

from __future__ import annotations

import re
import statistics
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.benchmarks.arms import Arm, Reading
from tests.benchmarks.losses import disagreement

Unit = Literal["images/s", "s", "MiB"]


@dataclass(frozen=True)
class Goal:
    """A bound of the median ratio, or of the contender's own median. kind: at_least or at_most."""

    bound: float
    kind: Literal["at_least", "at_most"] = "at_least"
    of: Literal["ratio", "value"] = "ratio"

    def met(self, value: float) -> bool:
        """Check whether the bound holds."""
        return value >= self.bound if self.kind == "at_least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.kind == 'at_least' else '<='} {self.bound:g}"


@dataclass(frozen=True)
class Row:
    """Two arms, or a contender alone.

    unit: of their readings. most: repeats, however many are asked for; for rows that are slow.
    """

    name: str
    reference: Arm | None
    contender: Arm
    unit: Unit = "images/s"
    goal: Goal | None = None
    most: int | None = None


@dataclass
class Result:
    """Result of a row. skipped: why it could not run. tolerance: of the errors, relative."""

    row: Row
    reference: list[Reading] = field(default_factory=list)
    contender: list[Reading] = field(default_factory=list)
    skipped: str | None = None
    faults: list[str] = field(default_factory=list)
    tolerance: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Return contender / reference for each pair."""
        pairs = zip(self.contender, self.reference, strict=False)
        return [contender.value / reference.value for contender, reference in pairs]

    @property
    def sides(self) -> list[tuple[Arm, list[Reading]]]:
        """The arms, each with its readings."""
        row = self.row
        first = [] if row.reference is None else [(row.reference, self.reference)]
        return [*first, (row.contender, self.contender)]

    @property
    def judged(self) -> float | None:
        """Return the number that a goal limits."""
        goal, alone = self.row.goal, self.row.reference is None
        of_value = alone if goal is None else goal.of == "value"
        values = [reading.value for reading in self.contender] if of_value else self.ratios
        return statistics.median(values) if values else None

    @property
    def verdict(self) -> str:
        """Return FAIL, skipped, met or not met; empty without a goal."""
        if self.faults:
            return "FAIL"
        if self.skipped or self.judged is None:
            return "skipped"
        if self.row.goal is None:
            return ""
        return "met" if self.row.goal.met(self.judged) else "not met"


def measure(
    row: Row, repeats: int, warm_up: bool, tell: Callable[[str], None] = lambda _: None
) -> Result:
    """Run the arms of a row in turn; their order changes with each pair.

    warm_up: discard a first pair. tell: of each run before it begins. An arm that raises ends its row.
    """
    result = Result(row)
    result.skipped = next((why for arm, _ in result.sides if (why := arm.missing())), None)
    if result.skipped:
        return result
    try:
        for number in range(-int(warm_up), min(repeats, row.most or repeats)):
            _pair(result, number, tell)
    except Exception as error:  # an arm may fail in any way; the other rows go on
        result.faults.append(f"{type(error).__name__}: {error} ({_place(error)})")
    finally:
        for arm, _ in result.sides:
            arm.close()
    result.tolerance, apart = disagreement(result.reference, result.contender)
    if apart:
        result.faults.append(apart)
    return result


def _place(error: Exception) -> str:
    """Name the place of an error: in the arm's own process, whose traceback is the cause, or in this one."""
    told = re.findall(r'File "(.+)", line (\d+)', str(error.__cause__))
    here = traceback.extract_tb(error.__traceback__)[-1]
    return ":".join(told[-1]) if told else f"{here.filename}:{here.lineno}"


def _pair(result: Result, number: int, tell: Callable[[str], None]) -> None:
    """Run both arms once. number: of the pair; a negative one is discarded, but for its faults."""
    for arm, readings in result.sides[:: 1 if number % 2 == 0 else -1]:
        tell("warm-up" if number < 0 else f"{number + 1}, {arm.name}")
        reading = arm.run(seed=max(number, 0))
        said = [f"{arm.name}: {fault}" for fault in reading.faults]
        result.faults += [fault for fault in said if fault not in result.faults]
        if number >= 0:
            readings.append(reading)
