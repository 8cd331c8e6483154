"""What the chosen options bring, as Hydra composes it, but read without Hydra."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CONF = next(
    folder
    for folder in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf")
    if folder.is_dir()
)
"""The configuration: inside an installed package, or beside it in a checkout."""
Choice = dict[str, list[str]]
"""Of each group the options; only of `constraint` there may be several."""


def chosen(said: Choice) -> Choice:
    """The options of all groups, where these are said: else the experiment's, the model's, or the default."""
    base = _defaults(_read(CONF / "config.yaml")[1])
    recipe = base | said
    recipe = {**_brought(recipe, "experiment"), **_brought(recipe, "debug")}
    model = _brought(base | recipe | said, "model")
    return base | model | recipe | said


def composed(choice: Choice) -> dict[str, Any]:
    """The configuration that these options make, as Hydra composes it; interpolations stay as written."""
    node = _read(CONF / "config.yaml")[1]
    for group, options in choice.items():
        for option in options:
            file = CONF / group / f"{option}.yaml"
            if file.is_file():
                package, own = _read(file)
                place = group if package is None else package
                for name in reversed(place.split(".") if place != "_global_" else ()):
                    own = {name: own}
                node = _merged(node, own)
    return {key: value for key, value in node.items() if key != "defaults"}


def _brought(choice: Choice, group: str) -> Choice:
    """What the options of a group choose of others."""
    found = Choice()
    for option in choice.get(group, ()):
        file = CONF / group / f"{option}.yaml"
        if file.is_file():
            found |= _defaults(_read(file)[1])
    return found


def _defaults(node: Mapping[str, Any]) -> Choice:
    entries = (entry for entry in node.get("defaults", ()) if isinstance(entry, dict))
    return {
        key.removeprefix("override /"): value if isinstance(value, list) else [value] * bool(value)
        for entry in entries
        for key, value in entry.items()
    }


@cache
def _read(file: Path) -> tuple[str | None, dict[str, Any]]:
    """A file's package and its content, which is not to be changed."""
    import yaml

    text = file.read_text("utf-8")
    package = re.match(r"# @package (\S+)", text)
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return package and package[1], content or {}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        before = found.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        found[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return found
