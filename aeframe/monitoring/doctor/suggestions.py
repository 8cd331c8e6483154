"""Suggested overrides, limited to those that are valid for the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from aeframe.config.check import check
from aeframe.config.composition import CONF
from aeframe.core.errors import UserError


@dataclass(frozen=True)
class Override:
    """Override KEY=VALUE of the command line. value: for a group, an option's name or a list of names."""

    key: str
    value: Any

    def __str__(self) -> str:
        """Format the override as typed in a shell."""
        if isinstance(self.value, Mapping):
            inner = ", ".join(f"{key}: {_format_value(value)}" for key, value in self.value.items())
            return f"{self.key}='{{{inner}}}'"
        if isinstance(self.value, list):
            return f"{self.key}=[{','.join(map(str, self.value))}]"
        return f"{self.key}={_format_value(self.value)}"

    def apply(self, node: Mapping[str, Any]) -> dict[str, Any] | None:
        """Apply the override to a configuration; None if the key is missing."""
        changed = deepcopy(dict(node))
        if self.key == "constraint":
            given = changed["constraint"] or {}
            changed["constraint"] = {
                name: given.get(name) or load_option("constraint", name) for name in self.value
            }
        elif self.key in ("network", "likelihood"):
            changed[self.key] = load_option(self.key, self.value)
        else:
            *path, last = self.key.split(".")
            inner = changed
            for name in path:
                inner = inner[name]
            if last not in inner:
                return None
            inner[last] = self.value
        return changed


def find_valid(node: Mapping[str, Any], candidates: Iterable[Override]) -> Override | None:
    """Return the first override that changes the configuration into another valid one."""
    return next((candidate for candidate in candidates if _is_valid(node, candidate)), None)


def _is_valid(node: Mapping[str, Any], override: Override) -> bool:
    try:
        changed = override.apply(node)
        if changed is None or changed == node:
            return False
        check(changed)
    except (UserError, KeyError, TypeError):  # part of the path is missing, or not a mapping
        return False
    return True


def has_option(group: str, name: str) -> bool:
    """Check whether this package has the option's file. Options of plug-ins have others."""
    return (CONF / group / f"{name}.yaml").exists()


def load_option(group: str, name: str) -> Any:
    """Load a group's option from its file."""
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
