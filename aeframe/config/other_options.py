"""Keys that another option of the same group has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from aeframe.config.composition import compose_options, find_options
from aeframe.core.errors import Problem
from aeframe.core.plain import as_mapping
from aeframe.core.table_names import is_table

OWN_DATA = ("image_folder", "array")
"""Options that come first, because they read a user's own files."""
TABLE = "table"
"""The option that comes first for files of tables."""


def name_owner(problem: Problem, groups: Collection[str], node: dict[str, Any]) -> Problem:
    """Add the options that have an unknown key, e.g. model=variational for model.beta, to its remedy.

    node: the configuration with the key.
    """
    group, _, key = problem.where.partition(".")
    if problem.what != "unknown key" or group not in groups or "." in key:
        return problem
    found = list_owners(group, key)
    if not found:
        return problem
    given = as_mapping(node.get(group)).values()
    if TABLE in found and any(is_table(str(value).rstrip("]'")) for value in given):
        found = [TABLE]
    owner = f"It belongs to {group}={', '.join(found)}"
    if problem.remedy.startswith("Did you mean"):
        owner = f"({owner}.)"
    else:
        owner = f"{owner}: write {group}={found[0]} as well."
    return replace(problem, remedy=f"{problem.remedy} {owner}")


def list_owners(group: str, key: str) -> list[str]:
    """List the options of a group whose file has this key."""
    options = sorted(find_options(group), key=lambda name: (name not in OWN_DATA, name))
    return [name for name in options if key in compose_options({group: [name]}).get(group, {})]
