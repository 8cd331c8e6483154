from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeframe.core.schedules import Clock, parse_schedule


def at(value: object, epoch: float = 0.0, step: int = 0) -> float:
    return parse_schedule(value)(Clock(step, epoch))  # type: ignore[arg-type]


def test_a_number_is_constant() -> None:
    assert at(0.3, epoch=0) == at(0.3, epoch=99) == 0.3


@pytest.mark.parametrize(
    ("given_", "epoch", "expected"),
    [
        ({"schedule": "linear", "start": 100, "end": 20, "epochs": 10}, 0, 100),
        ({"schedule": "linear", "start": 100, "end": 20, "epochs": 10}, 2.5, 80),
        ({"schedule": "linear", "start": 100, "end": 20, "epochs": 10}, 50, 20),
        ({"schedule": "cosine", "start": 1, "end": 0, "epochs": 4}, 0, 1),
        ({"schedule": "cosine", "start": 1, "end": 0, "epochs": 4}, 1, (1 + math.sqrt(0.5)) / 2),
        ({"schedule": "cosine", "start": 1, "end": 0, "epochs": 4}, 9, 0),
        ({"schedule": "warmup", "value": 2, "epochs": 4}, 1, 0.5),
        ({"schedule": "warmup", "value": 2, "epochs": 4}, 8, 2),
        ({"schedule": "cyclic", "value": 1, "epochs": 4, "ratio": 0.5}, 1, 0.5),
        ({"schedule": "cyclic", "value": 1, "epochs": 4, "ratio": 0.5}, 3, 1),
        ({"schedule": "cyclic", "value": 1, "epochs": 4, "ratio": 0.5}, 5, 0.5),
        ({"schedule": "constant", "value": 7}, 3, 7),
    ],
)
def test_values(given_: object, epoch: float, expected: float) -> None:
    assert at(given_, epoch=epoch) == pytest.approx(expected)


def test_steps_instead_of_epochs() -> None:
    assert at({"schedule": "linear", "start": 0, "end": 1, "steps": 10}, epoch=100, step=4) == 0.4


@given(
    start=st.floats(-10, 10),
    end=st.floats(-10, 10),
    epoch=st.floats(0, 30),
    kind=st.sampled_from(["linear", "cosine"]),
)
def test_stays_between_its_extremes(start: float, end: float, epoch: float, kind: str) -> None:
    made = parse_schedule({"schedule": kind, "start": start, "end": end, "epochs": 10})
    assert min(start, end) - 1e-9 <= made(Clock(0, epoch)) <= max(start, end) + 1e-9
    assert set(made.extremes) == {start, end}


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("abc", "expected a number or a schedule, got 'abc'"),
        (True, "expected a number or a schedule, got True"),
        (math.nan, "value must be a finite number, got nan"),
        ({"schedule": "linar"}, "unknown schedule 'linar'; there are constant, linear, cosine"),
        ({"start": 1}, "unknown schedule None"),
        ({"schedule": "linear", "start": 1, "epochs": 2}, "linear takes start, end and either"),
        ({"schedule": "warmup", "value": 1}, "warmup takes value and either epochs or steps"),
        ({"schedule": "warmup", "value": 1, "epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"schedule": "warmup", "value": 1, "epochs": 0}, "epochs must be at least 0.001, got 0"),
        ({"schedule": "warmup", "value": "x", "epochs": 1}, "value must be a finite number"),
        ({"schedule": "cyclic", "value": 1, "epochs": 1, "ratio": 2}, "ratio must be in (0, 1]"),
        ({"schedule": "constant", "value": 1, "epochs": 3}, "constant takes value, got"),
    ],
)
def test_mistakes(given_: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_schedule(given_)  # type: ignore[arg-type]
