"""Numbers in output: standard JSON, and cells of tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def format_json(value: Any, indent: int | None = 2) -> str:
    """Format plain data as JSON, with null for NaN and infinity, which JSON does not have."""
    return json.dumps(_replace_non_finite(value), indent=indent, allow_nan=False)


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace_non_finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_number(value: Any) -> float | None:
    """Convert a number from JSON; None for null, and for Infinity and NaN of older versions.

    Raises TypeError or ValueError for anything else.
    """
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def format_cell(value: float | None, form: str) -> str:
    """Format a number for a table; a dash for None, NaN and infinity."""
    return "-" if value is None or not math.isfinite(value) else format(value, form)
