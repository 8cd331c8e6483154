"""Repeated names in a list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def find_repeated(items: Iterable[Item]) -> Item | None:
    """Find the first item that is there twice, or return None."""
    seen = set[Item]()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
