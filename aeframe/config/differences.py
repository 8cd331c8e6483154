"""What a run's configuration has that the default one has not, as one would type it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aeframe.config.composition import CONF, Choice, chosen, composed
from aeframe.config.optimized_metric import AUTO, optimized_metric
from aeframe.config.override_words import quoted

GROUPS = ("model", "constraint", "dataset", "network", "likelihood", "hardware")
"""Classes whose options are told."""
WORDS = ("null", "true", "false", "nan", "inf")
"""Which are no texts unless they are quoted."""
PLAIN, NUMBER = r"[\w./][\w./+-]*", r"[\d_.]+(e[+-]?[\d_]+)?"
"""Texts that need no quotes, but for those that would be numbers."""
NO_CHOICES = ("resume", "hydra", "dataset.cache", "dataset.download")
"""Keys that say nothing of what is trained."""


def differences(node: Mapping[str, Any]) -> list[str]:
    """The words that make this configuration of the default one: GROUP=OPTION, then KEY=VALUE.

    An experiment is not named: what it chooses is.
    """
    said = Choice()
    for group in GROUPS:
        usual = chosen(said)[group]
        names = list(node[group]) if group == "constraint" else _options(group, node, usual)
        if names != usual:
            said[group] = names
    default = composed(chosen(said))
    if node["optimized_metric"] == optimized_metric({**node, "optimized_metric": AUTO}):
        default = {**default, "optimized_metric": node["optimized_metric"]}  # what auto stands for
    words = [f"{g}={names[0] if len(names) == 1 else _written(names)}" for g, names in said.items()]
    return [*words, *_changed(default, node)]


def _options(group: str, node: Mapping[str, Any], usual: list[str]) -> list[str]:
    """The option that this part of a configuration was most likely made of; else the usual one."""
    found = dict[str, int]()
    for option in [*usual, *sorted(file.stem for file in (CONF / group).glob("*.yaml"))]:
        part = composed({group: [option]})[group]
        if part.get("_target_") == node[group].get("_target_"):
            found[option] = len(list(_changed(part, node[group])))
    return [min(found, key=lambda option: found[option])] if found else usual


def _changed(usual: Mapping[str, Any], node: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """KEY=VALUE where they differ. What was to be looked up when the run began is no difference."""
    for key in dict.fromkeys([*usual, *node]):
        before, now = usual.get(key), node.get(key)
        if before == now or f"{above}{key}" in NO_CHOICES:
            continue
        if isinstance(before, str) and "${" in before:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _changed(before, now, f"{above}{key}.")
        else:
            yield f"{above}{key}={_written(now)}" if key in node else f"~{above}{key}"


def _written(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_written(v)}' for key, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    if not isinstance(value, str):
        return text
    low = text.lower()
    plain = re.fullmatch(PLAIN, text, re.ASCII) and not re.fullmatch(NUMBER, low)
    return text if plain and low not in WORDS else quoted(text)
