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
        group, _, name = key.partition(".")
        if as_mapping(settled.get(group)).get(name) == AUTO:
            settled[group] = {**settled[group], name: value}
            settled[RECORD][key] = value
    return settled


def unsettle(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as it was written, with `auto` for the values in the record."""
    written = {key: value for key, value in node.items() if key != RECORD}
    for key, value in as_mapping(node.get(RECORD)).items():
        group, _, name = key.partition(".")
        if as_mapping(written.get(group)).get(name) == value:
            written[group] = {**written[group], name: AUTO}
    return written
