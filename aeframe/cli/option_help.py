"""The text of `--help GROUP=OPTION`: the keys of an option with defaults, comments and allowed values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aeframe.cli.help import find_groups
from aeframe.cli.mistakes import build_option_error
from aeframe.config.commented_keys import Key, list_keys_of, read_header
from aeframe.config.composition import CONF, SEVERAL
from aeframe.config.override_words import read_key
from aeframe.config.plugins import name_owner_of
from aeframe.core.errors import UserError
from aeframe.core.late_imports import protect_imports
from aeframe.core.process import get_command, shorten_path

WIDTH, KEY = 110, 36
"""Columns of the text, and of the keys in it."""
Hints = Mapping[str, Any]


def write_option_help(words: Sequence[str], folders: Sequence[Path]) -> str:
    """Write the help for GROUP=OPTION words, and for keys such as `trainer`."""
    return "\n".join(line for word in words for line in _write_help(word, folders)) + "\n"


def _write_help(word: str, folders: Sequence[Path]) -> Iterator[str]:
    word = word.lstrip("+")
    group, option = read_key(word), word.partition("=")[2]
    groups = find_groups(folders)
    common = list_keys_of(CONF / "config.yaml", "")
    if not option:
        keys = [key for key in common if f"{key.name}.".startswith(f"{group}.")]
        if not keys and group not in groups:
            known = sorted({*groups, *(key.name.partition(".")[0] for key in common)} - {"hydra"})
            raise UserError(f"--help {group}", "no such key", f"There are {', '.join(known)}.")
        yield from _list_keys(keys, _read_hints(group, None))
        if options := groups.get(group):
            yield f"Options of {group}: {', '.join(options)}."
            yield f"{get_command()} --help {group}={next(iter(options))} shows the keys of one."
        return
    if group not in groups:
        raise UserError(f"--help {word}", "no such group", f"There are {', '.join(groups)}.")
    if option not in groups[group]:
        raise build_option_error(group, option, folders)
    file = groups[group][option]
    owner = name_owner_of(file)
    yield f"{group}={option}  ({f'from {owner}, ' if owner else ''}{shorten_path(file)})"
    yield from (f"  {line}" for line in read_header(file))
    keys = list_keys_of(file, group)
    hints = _read_hints(group, file)
    if keys:
        yield ""
        yield from _list_keys(keys, hints)
    names = {key.name for key in keys}
    others = [k for k in common if k.name.startswith(f"{group}.") and k.name not in names]
    if others:
        yield f"Keys of every {group}:"
        yield from _list_keys(others, hints)


def _list_keys(keys: Sequence[Key], hints: Hints) -> Iterator[str]:
    """List keys that have a value, each with its comment and the values that it may have."""
    for key in keys:
        yield from (f"  # {line}" for line in key.before)
        if not key.value and key.name not in hints:
            if key.comment:  # a section
                yield f"  {key.name}: {key.comment}"
            continue
        written = f"  {key.name}={key.value}"
        allowed = f"[{hints[key.name]}]" if hints.get(key.name) else ""
        lines = textwrap.wrap(" ".join(filter(None, (key.comment, allowed))), WIDTH - KEY) or [""]
        if len(written) >= KEY:
            yield written
            written = ""
        pairs = zip_longest([written], lines, fillvalue="")
        yield from (f"{begin:<{KEY}}{line}".rstrip() for begin, line in pairs)


def _read_hints(group: str, file: Path | None) -> dict[str, str]:
    """Read the allowed values of the keys of a group from the signatures of their classes."""
    with protect_imports():
        from aeframe.config.allowed_values import describe_values
        from aeframe.config.check import PLAIN
        from aeframe.config.signature import list_parameters
        from aeframe.config.targets import resolve
        from aeframe.data import DataModule
    found = list[tuple[str, Any]]()
    if group == "dataset":
        found.append((group, DataModule))
    found += [(name, target) for name, target in PLAIN.items()]
    if file is not None and (target := _find_target(file)) is not None:
        place = f"{group}.{file.stem}" if group in SEVERAL else group
        with suppress(ValueError):  # its class cannot be imported
            found.append((place, resolve(target)))
    return {
        f"{place}.{name}": describe_values(hint)
        for place, cls in found
        for name, (_, hint) in list_parameters(cls).items()
    }


def _find_target(file: Path) -> str | None:
    """Find the class that an option's file names."""
    for line in file.read_text("utf-8").splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "_target_":
            return value.strip()
    return None
