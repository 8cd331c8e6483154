"""File evaluation.json of a run, read without trust in its contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aeframe.core.errors import describe_error
from aeframe.core.regular_files import read_text
from aeframe.core.strict_json import parse_number

NAME = "evaluation.json"
LARGEST = 2**20  # bytes; a run writes a few thousand
UNREADABLE = f"its {NAME} cannot be read"


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Read the result of a run from its folder; None without a file.

    Raises ValueError for a file that is not a mapping in JSON, too deep, too large or not a regular
    file.
    """
    try:
        found = json.loads(read_text(folder / NAME, LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, RecursionError) as error:
        raise ValueError(describe_error(error)) from error
    if not isinstance(found, dict):
        raise ValueError("it is not a mapping")
    return found


def read_number(value: Any) -> float | None:
    """Read a number; None for null. Raises ValueError for all else, and beyond the range of floats."""
    try:
        return parse_number(value)
    except (TypeError, OverflowError) as error:
        raise ValueError(describe_error(error)) from error
