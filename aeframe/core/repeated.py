"""Repeated names in a list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from aeframe.core.errors import UserError, shorten

Item = TypeVar("Item", bound=Hashable)


def find_repeated(items: Iterable[Item]) -> Item | None:
    """Find the first item that is there twice, or return None."""
    seen = set[Item]()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def require_unique(columns: Sequence[str], where: str) -> None:
    """Raise UserError for a table that has two columns of one name; those without a name may be several."""
    if (twice := find_repeated(filter(None, columns))) is not None:
        first, second, *_ = (number for number, name in enumerate(columns, 1) if name == twice)
        what = f"has the column {shorten(twice)} more than once (columns {first} and {second})"
        raise UserError(where, what, "Give each column a name of its own.")
