"""Paths of this machine: ~ is the user's folder, and addresses such as s3:// are told from paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from aeframe.core.errors import Problem, UserError, shorten

ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+:/"
)  # one slash is left of two in a Path; C:/ is a drive
WHAT = "is an address, and aeframe reads and writes files of this machine only"
REMEDY = "Copy it to a folder, and write that; results can be copied afterwards."


def expand_path(path: str | os.PathLike[str], where: str | None = None) -> Path:
    """Return a path with ~ expanded. Raises UserError for an address. where: the key, if there is one."""
    text = os.fspath(path)
    if is_address(text):
        raise UserError(shorten(where or text), WHAT, REMEDY)
    return Path(os.path.expanduser(text))


def refuse_addresses(words: Iterable[object]) -> None:
    """Raise UserError for the first word, alone or in a list, that is an address."""
    for word in words:
        if isinstance(word, list | tuple):
            refuse_addresses(word)
        elif isinstance(word, str):
            expand_path(word)


def is_address(text: str) -> bool:
    """Check for an address such as s3://bucket/x, hf://datasets/x or https://x."""
    return ADDRESS.match(text) is not None and not os.path.exists(text)


def check_address(key: str, value: object) -> Problem | None:
    """Build the problem of a key that holds an address."""
    if isinstance(value, str) and is_address(value):
        return Problem(shorten(f"{key}={value}"), WHAT, REMEDY)
    return None
