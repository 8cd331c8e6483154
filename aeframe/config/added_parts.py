"""Added parts: groups that take several options, each of which names a class; most come from plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from aeframe.config.composition import find_options
from aeframe.config.result import Parts
from aeframe.config.signature import list_problems
from aeframe.config.targets import find_named_classes, get_options
from aeframe.core.errors import Problem


class Base(NamedTuple):
    """Base class of a group's parts, known by name: this room imports neither it nor its package.

    given: arguments that a run passes to the class. Such a part is made with the run.
    """

    package: str
    name: str
    given: tuple[str, ...] = ()

    def is_base_of(self, cls: type) -> bool:
        """Check whether a class is a subclass."""
        bases = ((base.__module__, base.__name__) for base in cls.__mro__)
        return any(f"{m}.".startswith(f"{self.package}.") and n == self.name for m, n in bases)


BASES = {
    "callbacks": Base("pytorch_lightning", "Callback"),
    "logger": Base("aeframe.monitoring.loggers", "RunLogger"),
    "metrics": Base("torchmetrics", "Metric"),
    "pictures": Base("aeframe.monitoring.dashboard", "Picture"),
    "rules": Base("aeframe.monitoring.doctor", "Rule", ("patient",)),
}
"""Base class of the parts of each group."""


def make_added_parts(node: Mapping[str, Any], parts: Parts) -> None:
    """Make the parts of these groups in their order, or add what is wrong with their nodes."""
    for group in BASES:
        make_group(group, node[group], parts)


def make_group(group: str, given: Any, parts: Parts) -> None:
    """Make the parts of one group, or add what is wrong with its node."""
    base = BASES[group]
    parts.added[group] = {}
    if not isinstance(given, Mapping) or "_target_" in given:
        parts.problems.append(_build_problem(group, given))
        return
    for name, where, options, cls in find_named_classes(given, group, object, parts.problems):
        if not base.is_base_of(cls):
            what = f"is not a subclass of {base.package}.{base.name}"
            parts.problems.append(Problem(f"{where}._target_={options['_target_']}", what))
            continue
        wrong = list_problems(options, cls, where, base.given)
        parts.problems += wrong
        make = partial(cls, **get_options(options))
        try:
            if not wrong:
                parts.added[group][name] = make if base.given else make()
        except ValueError as error:
            parts.problems.append(Problem(where, str(error)))


def _build_problem(group: str, given: Any) -> Problem:
    if some := list(find_options(group))[:2]:
        remedy = f"Write {group}={some[0]} or {group}=[{','.join(some)}]."
        return Problem(f"{group}={given}", "expected names of options", remedy)
    what = "no plug-in has such an option"
    remedy = f"Install its package, or name it: --plugin PACKAGE. Without {group} write {group}=[]."
    return Problem(f"{group}={given}", what, remedy)
