"""Composition of the options in conf/ without Hydra, but as Hydra does it.

It serves --help, completion, and the suggestions of a run.
Hydra would take a quarter of a second to import and a sixth for each composition; completion composes at each
press of TAB, and the suggestions of a run compose some forty times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from aeframe.config.plugins import list_conf_folders

CONF = next(
    folder
    for folder in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf")
    if folder.is_dir()
)
"""The configuration: inside an installed package, or beside it in a checkout."""
SEVERAL = ("constraint", "callbacks", "metrics", "pictures", "rules", "logger")
"""Groups of which several options may be chosen."""
Choice = dict[str, list[str]]
"""Options by group."""


def list_folders() -> list[Path]:
    """List the folders of the configuration: ours, and those of plug-ins. The first with an option wins."""
    return [CONF, *list_conf_folders()]


def find_options(group: str, folders: Sequence[Path] | None = None) -> dict[str, Path]:
    """Find the files of the options of a group, in alphabetical order. folders: by default all."""
    found = dict[str, Path]()
    for folder in folders or list_folders():
        for file in (folder / group).glob("*.yaml"):
            if file.is_file():
                found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def _find_option(group: str, option: str) -> Path | None:
    files = (folder / group / f"{option}.yaml" for folder in list_folders())
    return next((file for file in files if file.is_file()), None)


def choose_options(given: Choice) -> Choice:
    """Choose the options of all groups: the given ones, else those of experiment, dataset, model, or
    defaults.
    """
    base = _read_defaults(_read(CONF / "config.yaml")[1])
    recipe = base | given
    recipe = {**_find_choices(recipe, "experiment"), **_find_choices(recipe, "debug")}
    brought = [_find_choices(base | recipe | given, group) for group in ("model", "dataset")]
    return base | brought[0] | brought[1] | recipe | given


def compose_options(choice: Choice) -> dict[str, Any]:
    """Compose the configuration of these options as Hydra does; interpolations stay unresolved."""
    node = _read(CONF / "config.yaml")[1]
    for group, options in choice.items():
        for option in options:
            if (file := _find_option(group, option)) is not None:
                package, own = _read(file)
                place = group if package is None else package
                for name in reversed(place.split(".") if place != "_global_" else ()):
                    own = {name: own}
                node = _merge(node, own)
    return {key: value for key, value in node.items() if key != "defaults"}


def _find_choices(choice: Choice, group: str) -> Choice:
    """Find the options of other groups that the options of a group choose."""
    found = Choice()
    for option in choice.get(group, ()):
        if (file := _find_option(group, option)) is not None:
            found |= _read_defaults(_read(file)[1])
    return found


def _read_defaults(node: Mapping[str, Any]) -> Choice:
    entries = (entry for entry in node.get("defaults", ()) if isinstance(entry, dict))
    return {
        key.removeprefix("override /"): value if isinstance(value, list) else [value] * bool(value)
        for entry in entries
        for key, value in entry.items()
    }


@cache
def _read(file: Path) -> tuple[str | None, dict[str, Any]]:
    """Read the package of a file and its content, which must not be changed."""
    import yaml

    text = file.read_text("utf-8")
    package = re.match(r"# @package (\S+)", text)
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return package and package[1], content or {}


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        before = found.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        found[key] = _merge(before, value) if both else value  # type: ignore[arg-type]
    return found
