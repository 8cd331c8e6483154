"""Calls of verbs, and what they wrote."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Verb = Callable[..., tuple[int, str, str]]


def converted(where: str, count: str, to: str = "8 x 8 pixels") -> str:
    """Return the note on images that the model does not take as they are."""
    return f"aeframe: {where}: {count} converted to {to}, as the model needs them.\n"


def table(file: Path) -> list[list[str]]:
    """Read a CSV table as rows of cells."""
    with file.open(newline="") as opened:
        return list(csv.reader(opened))


def picture(file: Path) -> np.ndarray:
    """Read the pixels of an image."""
    with Image.open(file) as opened:
        return np.array(opened)


def good(ended: tuple[int, str, str], note: str = "") -> str:
    """Return the last line of a command that ended well. note: what it said besides."""
    assert ended[0] == 0, ended
    assert ended[2] == note, ended
    return ended[1].splitlines()[-1]


def encoded(verb: Verb, run: Path) -> str:
    """Encode the digits; returns the name of the file."""
    good(verb("encode", run, "digits", "--out", "codes.npy"))
    return "codes.npy"
