"""Differences between a configuration and the default one, as words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aeframe.config.auto_record import AUTO, unsettle
from aeframe.config.composition import (
    SEVERAL,
    Choice,
    choose_options,
    compose_options,
    find_options,
)
from aeframe.config.optimized_metric import resolve_optimized_metric
from aeframe.config.override_words import quote

GROUPS = (
    "model",
    "constraint",
    "dataset",
    "network",
    "likelihood",
    "hardware",
    "callbacks",
    "metrics",
    "pictures",
    "rules",
    "logger",
)
"""Groups whose options are named."""
WORDS = ("null", "true", "false", "nan", "inf")
"""Words that are texts only if they are quoted."""
PLAIN, NUMBER = r"[\w./][\w./+-]*", r"[\d_.]+(e[+-]?[\d_]+)?"
"""Patterns of texts that need no quotes, and of numbers, which do."""
NO_CHOICES = ("resume", "hydra", "dataset.cache", "dataset.download")
"""Keys that do not affect training."""


def find_differences(node: Mapping[str, Any]) -> list[str]:
    """Find the words that turn the default configuration into this one: GROUP=OPTION, then KEY=VALUE.

    An experiment is not named; its choices are.
    """
    node, choice = unsettle(node), Choice()
    for group in GROUPS:
        usual = choose_options(choice)[group]
        is_list = group in SEVERAL
        names = list(node.get(group, ())) if is_list else _find_options(group, node, usual)
        if names != usual:
            choice[group] = names
    default = compose_options(choose_options(choice))
    if node["optimized_metric"] == resolve_optimized_metric({**node, "optimized_metric": AUTO}):
        default = {**default, "optimized_metric": node["optimized_metric"]}  # the meaning of auto
    words = [f"{g}={names[0] if len(names) == 1 else _write(names)}" for g, names in choice.items()]
    return [*words, *_list_changes(default, node)]


def list_words(values: Mapping[str, Any]) -> list[str]:
    """List values by dotted key as words of the command line."""
    return [f"{key}={_write(value)}" for key, value in values.items()]


def _find_options(group: str, node: Mapping[str, Any], usual: list[str]) -> list[str]:
    """Find the option that this part of a configuration was most likely made from, else the default."""
    found = dict[str, int]()
    for option in [*usual, *find_options(group)]:
        part = compose_options({group: [option]})[group]
        if part.get("_target_") == node[group].get("_target_"):
            found[option] = len(list(_list_changes(part, node[group])))
    # of equals, the usual option, then the one that is called as its class
    called = str(node[group].get("_target_")).rpartition(".")[2].lower()
    by_likeness = sorted(found, key=lambda o: (found[o], o not in usual, o != called))
    return by_likeness[:1] if found else usual


def _list_changes(
    usual: Mapping[str, Any], node: Mapping[str, Any], above: str = ""
) -> Iterator[str]:
    """List KEY=VALUE for the values that differ. An interpolation in the default is not a difference."""
    for key in dict.fromkeys([*usual, *node]):
        before, now = usual.get(key), node.get(key)
        if before == now or f"{above}{key}" in NO_CHOICES:
            continue
        if isinstance(before, str) and "${" in before:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _list_changes(before, now, f"{above}{key}.")
        else:
            yield f"{above}{key}={_write(now)}" if key in node else f"~{above}{key}"


def _write(value: Any) -> str:
    """Write a value for the command line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_write(v)}' for key, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_write, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    if not isinstance(value, str):
        return text
    low = text.lower()
    plain = re.fullmatch(PLAIN, text, re.ASCII) and not re.fullmatch(NUMBER, low)
    return text if plain and low not in WORDS else quote(text)
