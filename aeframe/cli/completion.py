"""What a word of the training command may become, for a shell that completes it; read without Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from aeframe.cli.command_line import FLAGS
from aeframe.cli.help import groups
from aeframe.config.composition import Choice, chosen, composed
from aeframe.config.override_words import AUTOMATIC

FLAG = "--complete"
"""With which the shell asks: the line, and where the cursor is."""


def completions(line: str, point: int) -> list[str]:
    """What the word before the cursor may become. line: with the command, `aeframe train ...`."""
    *before, word = line[:point].split(" ")
    if before and before[-1] in ("--cfg", "-c"):
        found = ["job", "hydra", "all"]
    elif word.startswith("-"):
        found = [name for names in FLAGS for name in names if name.startswith("--")]
    elif "=" in word:
        key, _, value = word.partition("=")
        found = list(_values(key, value, composed(_choice(before))))
    else:
        found = list(_keys(word, composed(_choice(before))))
    return [text for text in found if text.startswith(word)]


def _choice(words: Sequence[str]) -> Choice:
    """What the words before chose; of a sweep's options all constraints, and else the first."""
    said = Choice()
    for word in words:
        group, _, value = word.partition("=")
        names = re.findall(r"\w+", value)
        if group in groups() and names:
            said[group] = names if group == "constraint" else names[:1]
    return chosen(said)


def _values(key: str, value: str, node: Any) -> Iterator[str]:
    """Options, of which several may be written as [A,B] or A,B; and the values that keys have names for."""
    if (options := groups().get(key)) is not None:
        written = re.match(r"(?:.*[\[,])?", value)
        before = written[0] if written else ""
        taken = re.findall(r"\w+", before)
        yield from (f"{key}={before}{name}" for name in options if name not in taken)
        return
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    names = AUTOMATIC if key == "resume" else ("true", "false") if isinstance(node, bool) else ()
    yield from (f"{key}={name}" for name in names)


def _keys(word: str, node: Any) -> Iterator[str]:
    """Groups, and the keys one level below what is written."""
    *above, last = word.split(".")
    if not above:
        yield from (f"{group}=" for group in groups())
    for name in above:
        node = node.get(name) if isinstance(node, dict) else None
    for name, below in (node or {}).items() if isinstance(node, dict) else ():
        if name != "_target_" or last.startswith("_"):
            yield ".".join([*above, name]) + ("." if isinstance(below, dict) else "=")
