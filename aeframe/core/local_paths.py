"""Local paths: ~ is the home folder, and addresses such as s3:// are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from aeframe.core.errors import Problem, UserError, shorten

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # Path keeps one of two slashes; C:/ is a drive
WHAT = "is an address, and aeframe reads and writes local files only"
REMEDY = "Copy the files to a local folder, and name that folder."


def expand_path(path: str | os.PathLike[str], where: str | None = None) -> Path:
    """Expand ~ in a path. Raises UserError for an address. where: the key to name in the error."""
    text = os.fspath(path)
    if is_address(text):
        raise UserError(shorten(where or text), WHAT, REMEDY)
    return Path(os.path.expanduser(text))


def refuse_addresses(words: Iterable[object]) -> None:
    """Raise UserError for the first address among the words and the lists of words."""
    for word in words:
        if isinstance(word, list | tuple):
            refuse_addresses(word)
        elif isinstance(word, str):
            expand_path(word)


def is_address(text: str) -> bool:
    """Check whether a text is an address such as s3://bucket/x, hf://datasets/x or https://x."""
    return ADDRESS.match(text) is not None and not os.path.exists(text)


def check_address(key: str, value: object) -> Problem | None:
    """Return the problem of a key whose value is an address, or None."""
    if isinstance(value, str) and is_address(value):
        return Problem(shorten(f"{key}={value}"), WHAT, REMEDY)
    return None
