"""Words of the command line: KEY=VALUE, quoted and taken apart."""

from __future__ import annotations

import re

AUTOMATIC = ("auto", "retry")
"""Values of `resume` that are no folder."""


def key_of(word: str) -> str:
    """The key of a KEY=VALUE word."""
    return word.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    """A text as Hydra takes it for itself, whatever is in it; but OmegaConf would still resolve ${.

    A backslash is special to Hydra right before a quote only.
    """
    inside = re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{inside}'"
