"""Completion of the words of `aeframe train`, without importing Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from aeframe.cli.command_line import FLAGS
from aeframe.cli.help import find_groups
from aeframe.config.composition import SEVERAL, Choice, choose_options, compose_options
from aeframe.config.override_words import AUTOMATIC
from aeframe.config.plugins import FLAG as FLAG_OF_PLUGINS
from aeframe.config.plugins import take_flags, use_plugins
from aeframe.core.errors import UserError

FLAG = "--complete"
"""The flag of a shell that asks for completions. The line and the position of the cursor follow."""


def list_completions(line: str, point: int) -> list[str]:
    """List completions of the word before the cursor. line: the whole line, `aeframe train ...`."""
    *before, word = line[:point].split(" ")
    with suppress(UserError), use_plugins(take_flags(before)[0]):
        return _list_completions(before, word)
    return []


def _list_completions(before: Sequence[str], word: str) -> list[str]:
    if before and before[-1] in ("--cfg", "-c"):
        found = ["job", "hydra", "all"]
    elif word.startswith("-"):
        found = [name for names in FLAGS for name in names if name.startswith("--")]
        found.append(FLAG_OF_PLUGINS)
    elif "=" in word:
        key, _, value = word.partition("=")
        found = list(_list_values(key, value, compose_options(_read_choice(before))))
    else:
        found = list(_list_keys(word, compose_options(_read_choice(before))))
    return [text for text in found if text.startswith(word)]


def _read_choice(words: Sequence[str]) -> Choice:
    """Read the options that the words choose: the first one, or all in a group where several are allowed."""
    choice = Choice()
    for word in words:
        group, _, value = word.partition("=")
        names = re.findall(r"\w+", value)
        if group in find_groups() and names:
            choice[group] = names if group in SEVERAL else names[:1]
    return choose_options(choice)


def _list_values(key: str, value: str, node: Any) -> Iterator[str]:
    """List options, also inside [A,B] or A,B, and the named values of keys."""
    if (options := find_groups().get(key)) is not None:
        written = re.match(r"(?:.*[\[,])?", value)
        before = written[0] if written else ""
        chosen = re.findall(r"\w+", before)
        yield from (f"{key}={before}{name}" for name in options if name not in chosen)
        return
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    names = AUTOMATIC if key == "resume" else ("true", "false") if isinstance(node, bool) else ()
    yield from (f"{key}={name}" for name in names)


def _list_keys(word: str, node: Any) -> Iterator[str]:
    """List groups, and the keys one level below the typed ones."""
    *above, last = word.split(".")
    if not above:
        yield from (f"{group}=" for group in find_groups())
    for name in above:
        node = node.get(name) if isinstance(node, dict) else None
    for name, below in (node or {}).items() if isinstance(node, dict) else ():
        if name != "_target_" or last.startswith("_"):
            yield ".".join([*above, name]) + ("." if isinstance(below, dict) else "=")
