"""Record of the options that were `auto`, in a saved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.core.plain import as_mapping

AUTO = "auto"
RECORD = "automatic"
"""Root key of a saved configuration: the options that were `auto`, and their values."""


def settle(node: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with values in place of `auto`, and the record of them.

    values: by dotted key. Only those that are written as `auto` are taken.
    """
    settled: dict[str, Any] = {**node, RECORD: dict(as_mapping(node.get(RECORD)))}
    for key, value in values.items():
        if find_option(settled, key) == AUTO:
            settled = replace_option(settled, key, value)
            settled[RECORD][key] = value
    return settled


def unsettle(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as it was written, with `auto` for the values in the record."""
    written = {key: value for key, value in node.items() if key != RECORD}
    for key, value in as_mapping(node.get(RECORD)).items():
        if find_option(written, key) == value:
            written = replace_option(written, key, AUTO)
    return written


def find_option(node: Mapping[str, Any], key: str) -> Any:
    """Find the value of a dotted key; None if there is none."""
    first, _, rest = key.partition(".")
    return find_option(as_mapping(node.get(first)), rest) if rest else node.get(first)


def replace_option(node: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return the configuration with another value of a dotted key."""
    first, _, rest = key.partition(".")
    inner = replace_option(as_mapping(node.get(first)), rest, value) if rest else value
    return {**node, first: inner}
