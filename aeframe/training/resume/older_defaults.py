"""Older defaults: a run keeps the defaults that it was started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from aeframe.config.differences import GROUPS, find_differences
from aeframe.config.override_words import read_key
from aeframe.core.regular_files import read_text
from aeframe.runs.checkpoint import LONGEST, Saved
from aeframe.training.resume.configuration import find_changes, is_harmless


def keep_own_defaults(
    saved: Saved, words: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the given configuration, with the run's own values for defaults that have changed since it
    was started.

    words: of the command line. A key keeps its given value if the words differ from those the run was
    started with. All keys do if the words choose another option of a group.
    """
    node = deepcopy(dict(given))
    others, begun = find_changes(saved, given), _read_words(saved.folder)
    if not others or begun is None:
        return node
    before, now = _parse_words(begun), _parse_words(words)
    changed = {key for key in {*before, *now} if before.get(key) != now.get(key)}
    if any("." not in key for key in changed):
        return node
    chosen = changed | {read_key(word) for word in find_differences(given)}
    for key in others:  # without a dot: another option of a group
        is_chosen = any(key.startswith(f"{word}.") for word in chosen.difference(GROUPS))
        is_changed = any(word.startswith(f"{key}.") for word in changed)
        if not (is_chosen or is_changed or key in chosen):
            _put(node, key.split("."), saved.node)
    return node


def _put(node: dict[str, Any], key: Sequence[str], source: Mapping[str, Any]) -> None:
    """Replace a key's value by that of the source, or delete the key if the source does not have it."""
    name, *below = key
    if name not in source:
        node.pop(name, None)
    elif below and isinstance(node.get(name), dict) and isinstance(source[name], Mapping):
        _put(node[name], below, source[name])
    else:
        node[name] = deepcopy(source[name])


def _read_words(folder: Path) -> list[str] | None:
    """Read the command-line words that a run was started with; None if they cannot be read."""
    try:
        words = yaml.safe_load(read_text(folder / ".hydra" / "overrides.yaml", LONGEST))
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        return None
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else None


def _parse_words(words: Sequence[str]) -> dict[str, str]:
    """Read the words that affect training, by key."""
    by_key = {read_key(word): word.lstrip("+") for word in words}
    return {k: v for k, v in by_key.items() if not (k.startswith("hydra.") or is_harmless(k))}
