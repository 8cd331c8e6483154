"""Plain data: numbers, text, lists and mappings, as in a saved configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from aeframe.core.errors import shorten

LARGEST, DEEPEST = 10_000, 16
"""Limits of a saved configuration: number of values, and depth."""


def is_count(value: Any) -> TypeGuard[int]:
    """Check whether a value is a count: a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def explain_not_plain(node: Any) -> str | None:
    """Explain why no run can have saved this configuration; None for plain data.

    Interpolations are refused, since they could read environment variables.
    """
    nodes = [(node, 0)]
    for count in range(LARGEST):
        if not nodes:
            return None
        value, depth = nodes.pop()
        if isinstance(value, str) and "${" in value:
            return f"contains the interpolation {shorten(value, 60)}, which no run saves"
        if isinstance(value, str | None) or (isinstance(value, int) and abs(value) < 2**63):
            continue
        if isinstance(value, float):
            continue
        if not isinstance(value, dict | list) or depth == DEEPEST or count + len(value) > LARGEST:
            return "is not plain data, or is far too large"
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return "has keys that are not text"
            nodes += [(key, depth + 1) for key in value]
            value = value.values()
        nodes += [(inner, depth + 1) for inner in value]
    return "is not plain data, or is far too large"


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty one; another check reports the mistake."""
    return value if isinstance(value, Mapping) else {}


def flatten(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the values of nested mappings, with their dotted keys."""
    if isinstance(node, Mapping) and (node or where == ""):
        for key, value in node.items():
            yield from flatten(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, node
