"""Durations in the format of trainer.max_time: DAYS:HOURS:MINUTES:SECONDS."""

from __future__ import annotations

import re

UNITS = (86_400, 3_600, 60, 1)
"""Seconds in a day, an hour, a minute and a second."""


def is_duration(text: str) -> bool:
    """Check whether a text has the format of a duration."""
    return re.fullmatch(r"\d+(:\d{1,2}){3}", text) is not None


def parse_duration(text: str) -> int:
    """Convert a duration to seconds."""
    return sum(int(n) * unit for n, unit in zip(text.split(":"), UNITS, strict=True))


def format_duration(count: int) -> str:
    """Convert seconds to a duration."""
    numbers = []
    for unit in UNITS:
        number, count = divmod(count, unit)
        numbers.append(f"{number:02d}")
    return ":".join(numbers)
