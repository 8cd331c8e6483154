"""Result of a check: mistakes, notes, and the parts that were made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aeframe.constraints import Constraint
from aeframe.core.errors import Problem
from aeframe.models import Autoencoder


@dataclass
class Parts:
    """The parts made from a configuration, and its mistakes.

    added: by group and name, those of groups that take several options.
    """

    problems: list[Problem] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    classes: dict[str, type[Constraint]] = field(default_factory=dict)
    model: type[Autoencoder] | None = None
    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)
