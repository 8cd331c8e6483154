"""Keys of a configuration file with their comments, read line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

LINE = re.compile(
    r"(?P<indent> *)(?P<key>[\w.-]+):(?P<value>(?: (?!# )\S+)*)(?: +# (?P<comment>.*))?"
)
MORE = re.compile(r" +# (?P<comment>.*)")
"""Patterns of a line with a key, and of a line that goes on with its comment."""
UNSHOWN = ("defaults", "_target_")


@dataclass(frozen=True)
class Key:
    """A key of a file.

    name: with those above it. value: as written; empty above other keys. comment: beside it. before: lines
    of comment before it.
    """

    name: str
    value: str
    comment: str
    before: tuple[str, ...] = ()


def read_header(file: Path) -> list[str]:
    """Read the comment at the top of a file: its summary, when to use it, and a command."""
    lines = _split_header(file.read_text("utf-8"))
    return [line[2:] for line in lines if not line.startswith("# @package")]


def list_keys_of(file: Path, group: str) -> list[Key]:
    """List the keys of a file in their order, as the command line names them. group: of the option."""
    text = file.read_text("utf-8")
    package = re.match(r"# @package (\S+)", text)
    place = package[1] if package else group
    return list(_read_keys(text, "" if place == "_global_" else place))


def _split_header(text: str) -> list[str]:
    return list(takewhile(lambda line: line.startswith("#"), text.splitlines()))


def _read_keys(text: str, top: str) -> Iterator[Key]:
    above = [(-1, top)]
    current: Key | None = None
    before = list[str]()
    for line in text.splitlines()[len(_split_header(text)) :]:
        if line.startswith("# "):
            before.append(line[2:])
            continue
        if current is not None and (more := MORE.fullmatch(line)) is not None:
            current = replace(current, comment=f"{current.comment} {more['comment']}".strip())
            continue
        if (match := LINE.fullmatch(line)) is None:
            continue
        if current is not None:
            yield current
        indent = len(match["indent"])
        above = [pair for pair in above if pair[0] < indent]
        name = ".".join(filter(None, (above[-1][1], match["key"])))
        above.append((indent, name))
        shown = not {*name.split(".")} & {*UNSHOWN}
        value, comment = match["value"].strip(), match["comment"] or ""
        current = Key(name, value, comment, tuple(before)) if shown else None
        before.clear()
    if current is not None:
        yield current
