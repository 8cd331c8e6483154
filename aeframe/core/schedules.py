"""Schedules: values that change during training, in YAML a number or a mapping.

    weight: 0.1
    weight: {schedule: linear,  start: 0.0, end: 0.1, epochs: 5}
    weight: {schedule: cosine,  start: 100, end: 25, epochs: 10}
    weight: {schedule: warmup,  value: 0.1, epochs: 2}
    beta:   {schedule: cyclic,  value: 1.0, epochs: 4, ratio: 0.5}

`steps: n` may replace `epochs: x`. After its length a schedule keeps its last value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

Scheduled = float | int | Mapping[str, Any]
"""Type of a constructor argument that may be a schedule."""


class Clock(NamedTuple):
    """Progress of training in optimizer steps and in (fractions of) epochs."""

    step: int = 0
    epoch: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Value as a function `shape` of progress, which grows from 0 to 1 within `length` epochs or steps."""

    shape: Callable[[float], float]
    length: float = 0.0
    unit: str = "epochs"
    repeats: bool = False
    extremes: tuple[float, ...] = ()

    def __call__(self, clock: Clock) -> float:
        if self.length == 0:
            return self.shape(1.0)
        progress = (clock.epoch if self.unit == "epochs" else clock.step) / self.length
        return self.shape(progress % 1.0 if self.repeats else min(progress, 1.0))

    def has_ended(self, clock: Clock) -> bool:
        """Check whether the final value is reached. A cyclic schedule has ended at its full value."""
        return self(clock) == self.shape(1.0)


def find_schedules(part: object) -> dict[str, Schedule]:
    """Find the schedules among the attributes of an object, by their names in YAML."""
    return {
        name.lstrip("_"): value for name, value in vars(part).items() if isinstance(value, Schedule)
    }


SHORTEST = {"epochs": 1e-3, "steps": 1.0}
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": ("start", "end"),
    "cosine": ("start", "end"),
    "warmup": ("value",),
    "cyclic": ("value", "ratio"),
}


def parse_schedule(value: Scheduled | Schedule) -> Schedule:
    """Convert a value from YAML to a schedule. Raises ValueError with a description of the mistake."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        raise ValueError(f"expected a number or a schedule, got {value!r}")
    if not isinstance(value, Mapping):
        number = _parse_number("value", value)
        return Schedule(partial(_linear, number, number), extremes=(number,))
    return _parse_mapping(dict(value))


def _parse_mapping(given: dict[str, Any]) -> Schedule:
    kind = given.pop("schedule", None)
    if kind not in _KEYS:
        raise ValueError(f"unknown schedule {kind!r}; there are {', '.join(_KEYS)}")
    lengths = [unit for unit in ("epochs", "steps") if unit in given]
    needed = _KEYS[kind]
    missing = [key for key in needed if key not in given and key != "ratio"]
    unknown = [key for key in given if key not in (*needed, "epochs", "steps")]
    if missing or unknown or len(lengths) != (kind != "constant"):
        length = "" if kind == "constant" else " and either epochs or steps"
        raise ValueError(f"schedule {kind} takes {', '.join(needed)}{length}, got {sorted(given)}")
    numbers = {key: _parse_number(key, number) for key, number in given.items()}
    unit = lengths[0] if lengths else "epochs"
    duration = numbers.get(unit, 0.0)
    if lengths and duration < SHORTEST[unit]:
        raise ValueError(f"{unit} must be at least {SHORTEST[unit]:g}, got {given[unit]}")
    if not 0 < numbers.get("ratio", 1.0) <= 1:
        raise ValueError(f"ratio must be in (0, 1], got {given['ratio']}")
    return _build_schedule(kind, numbers, duration, unit)


def _build_schedule(kind: str, numbers: dict[str, float], length: float, unit: str) -> Schedule:
    end = numbers.get("end", numbers.get("value", 0.0))
    start = numbers.get("start", end if kind == "constant" else 0.0)
    curve = partial(_cosine if kind == "cosine" else _linear, start, end)
    if kind == "cyclic":
        curve = partial(_cyclic, numbers.get("ratio", 0.5), end)
    return Schedule(curve, length, unit, kind == "cyclic", (start, end))


# functions, not closures: scikit-learn pickles a trained network with its schedules
def _linear(start: float, end: float, t: float) -> float:
    return start + (end - start) * t


def _cosine(start: float, end: float, t: float) -> float:
    return end - (end - start) * (1 + math.cos(math.pi * t)) / 2


def _cyclic(ratio: float, end: float, t: float) -> float:
    return end * min(t / ratio, 1.0)  # Fu et al. 2019, arXiv:1903.10145


def _parse_number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{key} must be a finite number, got {value!r}")
    return float(value)
