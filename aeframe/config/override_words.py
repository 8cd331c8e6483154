"""Words of the command line, KEY=VALUE: their keys and quotes."""

from __future__ import annotations

import re

AUTOMATIC = ("auto", "retry")
"""Values of `resume` that are not a folder."""


def read_key(word: str) -> str:
    """Return the key of a KEY=VALUE word."""
    return word.lstrip("+~").partition("=")[0]


def quote(text: str) -> str:
    """Quote any text for Hydra. OmegaConf would still resolve ${ in it.

    A backslash is special to Hydra only right before a quote.
    """
    inside = re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{inside}'"
