"""Values that a key may have, described from the signature of its class."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from aeframe.core.bounds import Above, AtLeast, AtMost, Below, Bound
from aeframe.core.schedules import Scheduled

SCALARS = {int: "a whole number", float: "a number", str: "text", type(None): "null"}
SIGNS: dict[type[Bound], str] = {
    AtLeast: "at least",
    Above: "above",
    AtMost: "at most",
    Below: "below",
}


def describe_values(hint: Any) -> str:
    """Describe the values that fit a type hint, e.g. `a whole number, at least 1, or null`."""
    *some, last = list(dict.fromkeys(_list_values(hint)))
    return f"{', '.join(some)} or {last}" if some else last


def _list_values(hint: Any) -> list[str]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *rest = args
        bounds = [f"{SIGNS[type(r)]} {r}" for r in rest if isinstance(r, Bound)]
        *others, first = reversed(_list_values(base))
        return [" ".join([first, *([f"({' and '.join(bounds)})"] * bool(bounds))]), *others]
    if origin in (Union, types.UnionType):
        if set(args) == set(get_args(Scheduled)):
            return ["a number", "a schedule"]
        members = [value for member in args for value in _list_values(member)]
        return sorted(members, key=lambda value: value == "null")
    if origin is Literal:
        return [str(value) for value in args]
    if hint is bool:
        return ["true", "false"]
    if origin in (list, tuple, Sequence):
        inside = [arg for arg in args if arg is not Ellipsis]
        return [f"a list of ({describe_values(inside[0])})" if inside else "a list"]
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return ["a mapping"]
    return [SCALARS.get(hint, "")]
