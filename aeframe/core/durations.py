"""Lengths of time as trainer.max_time has them: DAYS:HOURS:MINUTES:SECONDS."""

from __future__ import annotations

import re

UNITS = (86_400, 3_600, 60, 1)
"""Seconds of each."""


def is_duration(text: str) -> bool:
    """Check whether it is a length of time."""
    return re.fullmatch(r"\d+(:\d{1,2}){3}", text) is not None


def parse_duration(text: str) -> int:
    """Read a length of time, in seconds."""
    return sum(int(n) * unit for n, unit in zip(text.split(":"), UNITS, strict=True))


def format_duration(count: int) -> str:
    """So many seconds."""
    numbers = []
    for unit in UNITS:
        number, count = divmod(count, unit)
        numbers.append(f"{number:02d}")
    return ":".join(numbers)
