"""Checks of a node against a constructor's signature, which is the only schema."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from aeframe.core.bounds import Bound
from aeframe.core.errors import Problem, find_closest
from aeframe.core.schedules import Scheduled, parse_schedule

Target = Callable[..., Any]
_EMPTY = inspect.Parameter.empty
_SCHEDULED = set(get_args(Scheduled))


def list_problems(
    node: Mapping[str, Any],
    targets: Target | Sequence[Target],
    where: str,
    provided: Collection[str] = (),
    *,
    named: bool = True,
) -> list[Problem]:
    """List every mistake in `node` against the signature of its target.

    With several targets a key may belong to any of them. where: the node's key, which starts each
    problem's place. provided: parameters that the framework itself passes. named: whether the node
    names its class itself.
    """
    takes: dict[str, tuple[Any, Any]] = {}
    for target in targets if isinstance(targets, Sequence) else [targets]:
        takes |= list_parameters(target)
    known = [name for name in takes if name not in provided]
    found = [
        build_unknown_problem(f"{where}.{key}", str(key), known)
        for key in node
        if key not in known and not (key == "_target_" and named)
    ]
    for name in known:
        default, hint = takes[name]
        if name not in node:
            if default is _EMPTY:
                found.append(
                    Problem(f"{where}.{name}", "is missing", f"Write {where}.{name}=VALUE.")
                )
        elif (what := find_mismatch(node[name], hint)) is not None:
            found.append(Problem(f"{where}.{name}={_format_value(node[name])}", *what))
    return found


def build_unknown_problem(
    where: str, name: str, names: Iterable[str], kind: str = "key"
) -> Problem:
    """Build the problem of an unknown key or metric, with the nearest known one."""
    known = sorted(names)
    close = find_closest(name, known)
    remedy = f"Did you mean {close}?" if close else f"Known: {', '.join(known) or 'none'}."
    return Problem(where, f"unknown {kind}", remedy)


def find_mismatch(value: Any, hint: Any) -> tuple[str, str] | None:
    """Find what is wrong with a value for a type hint: (what, remedy); None if it fits or is not judged."""
    if isinstance(value, str) and value == "???":
        return "needs a value", ""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *rest = args
        return find_mismatch(value, base) or _check_bounds(
            value, [r for r in rest if isinstance(r, Bound)]
        )
    if origin in (Union, types.UnionType):
        return _check_union(value, args)
    if origin is Literal:
        return None if value in args else _expect_one_of(value, [str(a) for a in args])
    if origin in (list, Sequence, tuple):
        return _check_sequence(value, args, origin)
    if origin in (dict, Mapping):
        hint = Mapping
    return _check_scalar(value, hint)


@cache  # one check of a configuration calls it some fifty times
def list_parameters(target: Target) -> Mapping[str, tuple[Any, Any]]:
    """Map each name that can be written in YAML to (default, type hint)."""
    function = target.__init__ if inspect.isclass(target) else target
    hints: dict[str, Any] = {}
    # of a dataclass: inherited hints hold names of another module
    for typed in (function, target) if is_dataclass(target) else (function,):
        with suppress(NameError, TypeError):  # names that only a type checker sees
            hints = hints or get_type_hints(typed, include_extras=True)
    return {
        name: (p.default, hints.get(name, Any))
        for name, p in inspect.signature(target).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


def _check_union(value: Any, members: tuple[Any, ...]) -> tuple[str, str] | None:
    """Check a value against a union: wrong if it fits no member. The most helpful complaint is kept."""
    if set(members) == _SCHEDULED:
        try:
            parse_schedule(value)
        except ValueError as error:
            return str(error), ""
        return None
    if value is None and type(None) in members:
        return None
    complaints = [find_mismatch(value, m) for m in members if m is not type(None)]
    if not complaints or any(c is None for c in complaints):
        return None
    expected = [c for c in complaints if c is not None]
    if isinstance(value, bool) and {str, type(None)} <= set(members):
        return "expected text or null", "Write null for none."
    telling = [c for c in expected if not c[0].startswith("expected ")]
    if telling or len(expected) == 1:
        return (telling or expected)[0]
    return _join_complaints([c[0] for c in expected]), next((c[1] for c in expected if c[1]), "")


def _join_complaints(complaints: list[str]) -> str:
    """Join `expected A`, `expected one of B, C` and the like to one complaint."""
    # the place of the complaint shows the value
    told = (c.partition(", got ")[0] for c in complaints)
    names = [c.removeprefix("expected ").removeprefix("one of ") for c in told]
    *some, last = ", ".join(names).replace(" or ", ", ").split(", ")
    return f"expected {', '.join(some)} or {last}" if some else f"expected {last}"


def _check_bounds(value: Any, bounds: list[Bound]) -> tuple[str, str] | None:
    if value is None or (isinstance(value, str)):
        return None
    values = parse_schedule(value).extremes if isinstance(value, Mapping) else (value,)
    for bound in bounds:
        for number in values:
            if (what := bound.find_problem(number)) is not None:
                return what, ""
    return None


def _expect_one_of(value: Any, names: list[str]) -> tuple[str, str]:
    close = find_closest(str(value), names)
    remedy = f"Did you mean {close}?" if close else ""
    return f"expected {'one of ' if len(names) > 1 else ''}{', '.join(names)}", remedy


def _check_sequence(value: Any, args: tuple[Any, ...], origin: Any) -> tuple[str, str] | None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return "expected a list", "Write [A,B,...]."
    for i, item in enumerate(value):
        hint = args[min(i, len(args) - 1)] if args else Any
        if hint is not Ellipsis and (what := find_mismatch(item, hint)) is not None:
            return f"entry {i + 1}: {what[0]}", what[1]
    return None


def _check_scalar(value: Any, hint: Any) -> tuple[str, str] | None:
    if hint is int:
        if isinstance(value, float) and value.is_integer():
            return "expected a whole number", f"Write {int(value)}."
        return None if _is_number(value, int) else ("expected a whole number", "")
    if hint is float:
        if not _is_number(value, int, float):
            return "expected a number", ""
        return None if math.isfinite(value) else ("must be finite", "")
    if hint is bool:
        return None if isinstance(value, bool) else ("expected true or false", "")
    if hint is str:
        return None if isinstance(value, str) else ("expected text", "Put it in quotes.")
    if hint is type(None):
        return None if value is None else ("expected null", "")
    if hint is Mapping:
        return None if isinstance(value, Mapping) else ("expected a mapping", "Write {key: value}.")
    return None


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _format_value(value: Any) -> str:
    text = (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."
