"""Plain data: numbers, text, lists and mappings, as a configuration is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from aeframe.core.errors import shorten

LARGEST, DEEPEST = 10_000, 16
"""How many values a saved configuration may have, and how deep."""


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of things that were counted."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def explain_not_plain(node: Any) -> str | None:
    """What makes a saved configuration another than a run saves, which is plain and has no interpolations:
    those could read what is none of its business.
    """
    nodes = [(node, 0)]
    for count in range(LARGEST):
        if not nodes:
            return None
        value, depth = nodes.pop()
        if isinstance(value, str) and "${" in value:
            return f"holds {shorten(value, 60)}, and a run saves no interpolations"
        if isinstance(value, str | None) or (isinstance(value, int) and abs(value) < 2**63):
            continue
        if isinstance(value, float):
            continue
        if not isinstance(value, dict | list) or depth == DEEPEST or count + len(value) > LARGEST:
            return "is no plain data, or far too large"
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return "has keys that are no text"
            nodes += [(key, depth + 1) for key in value]
            value = value.values()
        nodes += [(inner, depth + 1) for inner in value]
    return "is no plain data, or far too large"


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value, or nothing where it is none and that will be said."""
    return value if isinstance(value, Mapping) else {}


def flatten(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted keys."""
    if isinstance(node, Mapping) and (node or where == ""):
        for key, value in node.items():
            yield from flatten(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, node
