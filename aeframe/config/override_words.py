"""Words of the command line, KEY=VALUE: their keys and quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aeframe.core.errors import UserError

AUTOMATIC = ("auto", "retry")
"""Values of `resume` that are not a folder."""

CONSTANTS = ("null", "true", "false", "nan", "inf")
"""Texts that Hydra reads as something else."""


def read_key(word: str) -> str:
    """Return the key of a KEY=VALUE word."""
    return word.lstrip("+~").partition("=")[0]


def quote(text: str) -> str:
    """Quote any text for Hydra. OmegaConf would still resolve ${ in it.

    A backslash is special to Hydra only right before a quote.
    """
    inside = re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{inside}'"


def write_words(overrides: Sequence[str] | Mapping[str, Any], *, swept: bool = False) -> list[str]:
    """Write overrides as words of the command line.

    overrides: words, or values by key. swept: a list in a mapping holds the values of a sweep, else it
    is one value. Raises UserError for anything else.
    """
    if isinstance(overrides, Mapping):
        values = {
            key: value if swept and isinstance(value, list) else [value]
            for key, value in overrides.items()
        }
        return [f"{key}={','.join(map(write_value, each))}" for key, each in values.items()]
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        what, remedy = "expected a list of texts or a mapping", 'Write ["model=sparse", "seed=1"].'
        raise UserError(f"overrides={overrides!r}", what, remedy)
    return list(overrides)


def write_value(value: Any) -> str:
    """Write a value as Hydra reads it: None as null, lists and mappings in brackets, texts in quotes."""
    value = value.item() if hasattr(value, "item") else value  # a number of NumPy or torch
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {write_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(write_value, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    is_name = re.fullmatch(r"[A-Za-z_][\w/.+-]*", text, re.ASCII) is not None
    return text if is_name and text.lower() not in CONSTANTS else quote(text)
