"""The name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIKE = 0.6
"""The least share of letters in common, from 0 to 1."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name most like `name`, if any is much like it; of names as like the first."""
    alike = {known: difflib.SequenceMatcher(None, known, name).ratio() for known in names}
    best = max(alike, key=alike.__getitem__, default=None)
    return best if best is not None and alike[best] >= LIKE else None
