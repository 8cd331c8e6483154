"""The range of stored values: it becomes 0 and 1 with normalization=unit, and is the peak of PSNR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeframe.core.errors import Problem, UserError
from aeframe.data.finite import measure_extent
from aeframe.data.source import Raw

Range = tuple[float, float]

TOLERANCE = 1e-6  # of the range, for the rounding of floats
DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16)  # bits of cameras and converters
SHARE = 8  # the range of a type is suspect if data uses less than one part in SHARE


def check_range(given: Any) -> Problem | None:
    """Return the problem of dataset.range, or None."""
    if given is None:
        return None
    where = f"dataset.range={_format_typed(given)}"
    if not isinstance(given, Sequence) or len(given) != 2 or not all(map(_is_number, given)):
        return Problem(where, "is not two numbers", "Write dataset.range=[0,4095].")
    if not given[0] < given[1]:
        return Problem(
            where,
            "must have the lower limit first",
            f"Write dataset.range=[{given[1]:g},{given[0]:g}].",
        )
    return None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**127 and math.isfinite(value)


def find_extent(raw: Raw) -> Range:
    """Find the lowest and the highest value of all samples. Raises UserError for NaN and infinity."""
    ends = [measure_extent(chunk, raw) for _, chunk in raw.read_chunks()]
    return min(low for low, _ in ends), max(high for _, high in ends)


def require_within(raw: Raw, given: Range, name: str) -> None:
    """Raise UserError for samples outside a range; it names the first one, and a sufficient range.

    name: of the range, for the message.
    """
    low, high = given
    room = TOLERANCE * (high - low) if raw.rows.dtype.is_floating_point else 0.0
    first, last = find_extent(raw)
    if low - room <= first and last <= high + room:
        return
    row, value = _find_first_outside(raw, low - room, high + room)
    what = f"sample {row} (from 0) has the value {value:.9g}, outside {name}, {format_range(given)}"
    wider = format_range((min(low, first), max(high, last)))
    raise UserError(raw.origin, what, f"Correct the data, or write dataset.range={wider}.")


def _find_first_outside(raw: Raw, low: float, high: float) -> tuple[int, float]:
    """Find the row and the value of the first sample outside the range."""
    for start, chunk in raw.read_chunks():
        values = chunk.double().flatten(1)
        outside = ((values < low) | (values > high)).nonzero()
        if len(outside):
            row, column = outside[0].tolist()
            return start + row, float(values[row, column])
    raise AssertionError("all lie inside")


def format_range(given: Range) -> str:
    """Format a range as in an override."""
    return f"[{given[0]:.9g},{given[1]:.9g}]"


def _format_typed(given: Any) -> str:
    return f"[{','.join(map(str, given))}]" if isinstance(given, list) else str(given)


def find_narrow(raw: Raw, known: Range) -> Range | None:
    """Find the range of the values if it is less than an eighth of the known one; None for equal values.

    The search ends as soon as they use more.
    """
    used = (math.inf, -math.inf)
    for _, chunk in raw.read_chunks():
        low, high = measure_extent(chunk, raw)
        used = min(used[0], low), max(used[1], high)
        if used[1] - used[0] >= (known[1] - known[0]) / SHARE:
            return None
    return used if used[0] < used[1] else None


def note_narrow_range(raw: Raw) -> list[Problem]:
    """Note samples that use less than an eighth of the range assumed for their type."""
    assert raw.low is not None
    assert raw.high is not None
    if (used := find_narrow(raw, (raw.low, raw.high))) is None:
        return []
    what = (
        f"values are {used[0]:g} to {used[1]:g}, in an assumed range of {raw.low:g} to {raw.high:g}"
    )
    remedy = f"If no others are possible, write dataset.range={format_range(guess_range(used))}."
    return [Problem(raw.origin, what, remedy)]


def guess_range(used: Range) -> Range:
    """Guess the possible range of values: that of a number of bits, or the one that they use."""
    low, high = used
    depths = [2.0**bits - 1 for bits in DEPTHS if 2.0 ** (bits - 1) - 1 < high <= 2.0**bits - 1]
    if 0 <= low <= high / 2:
        return 0.0, depths[0] if depths and high > 16 else high
    return low, high


def get_type_range(dtype: np.dtype[Any]) -> tuple[float | None, float | None]:
    """Return the range of a type with a known one: booleans, uint8 and uint16."""
    high = {"b1": 1.0, "u1": 255.0, "u2": 65535.0}.get(dtype.str[1:])
    return (None, None) if high is None else (0.0, high)
