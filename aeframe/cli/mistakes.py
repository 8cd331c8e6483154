"""Mistakes in the words of a command, all of them at once: everyday names and unknown options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aeframe.cli.aliases import replace_alias
from aeframe.config.composition import find_options
from aeframe.config.override_words import read_key
from aeframe.config.plugins import name_owner_of
from aeframe.core.errors import Problem, UserError, find_closest
from aeframe.core.process import get_command
from aeframe.core.table_names import is_table

GROUPS = "\\+*[a-z]+=[\\w,\\[\\]-]+"
"""Pattern of a word that chooses options of a group: names, and lists of names."""


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of a command.

    problems: one for each word. groups: those whose option is unknown, or needs the name of a file.
    words: the words with aeframe's names, without these groups. command: the corrected command;
    empty if there are such groups.
    """

    problems: tuple[Problem, ...] = ()
    groups: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    command: str = ""

    def list_all(self, others: Sequence[Problem]) -> list[Problem]:
        """List these problems and others of the corrected words, and then the corrected command.

        A part that depends on an unknown option is not judged.
        """
        keys = tuple(f"{group}{end}" for group in self.groups for end in ".=")
        # the pairs of parts and the metrics depend on every option
        free = [
            problem
            for problem in others
            if not self.groups
            or (
                problem.what.startswith(("unknown key", "expected"))
                and not f"{problem.where}=".startswith(keys)
            )
        ]
        if free or not self.command:
            return [*self.problems, *free]
        return [*self.problems[:-1], replace(self.problems[-1], remedy=f"Write: {self.command}")]


def find_mistakes(
    argv: Sequence[str], words: Sequence[str], folders: Sequence[Path]
) -> Mistakes | None:
    """Find everyday names and unknown options among the words of a command, None if there are none.

    argv: the whole command line. words: its GROUP=OPTION and KEY=VALUE words.
    """
    problems, groups, new = list[Problem](), list[str](), dict[str, str]()
    has_other_folders = any(word.startswith("hydra.searchpath") for word in words)
    for word in words:
        group = read_key(word)
        known = list_options(group, folders)
        wrong = [] if has_other_folders else _find_unknown(word, known)
        name = word if known and not wrong else replace_alias(word)
        if name != word:
            problems.append(Problem(word, f"aeframe calls it {shlex.join(_split(name))}"))
            new[word] = name
            groups += [group] if re.search("FOLDER|FILE", name) else []
        elif wrong:
            problems += [build_option_error(group, option, folders).problems[0] for option in wrong]
            groups.append(group)
    if not problems:
        return None
    kept = tuple(new.get(word, word) for word in words if read_key(word) not in groups)
    command = f"{get_command()} {shlex.join(new.get(word, word) for word in argv)}"
    return Mistakes(tuple(problems), tuple(groups), kept, "" if groups else command)


def list_options(group: str, folders: Sequence[Path]) -> list[str]:
    """List the options of a group; none if there is no such group."""
    return list(find_options(group, folders))


def build_option_error(group: str, option: str, folders: Sequence[Path]) -> UserError:
    """Build the error for an unknown option of a group."""
    known = find_options(group, folders)
    close = find_closest(option, known)
    hint = f"Did you mean {group}={close}? " if close else ""
    if group == "dataset" and is_table(option):
        hint = f"Write dataset=table {shlex.quote(f'dataset.path={option}')}. "
    names = [
        f"{name} (from {owner})" if (owner := name_owner_of(file)) else name
        for name, file in known.items()
    ]
    return UserError(f"{group}={option}", "no such option", f"{hint}There are {', '.join(names)}.")


def _find_unknown(word: str, known: Sequence[str]) -> list[str]:
    """Find the options that a word chooses and that the group does not have."""
    if not known or not re.fullmatch(GROUPS, word):
        return []
    chosen = filter(None, re.split(r"[\[\],]", word.partition("=")[2]))
    return [option for option in chosen if option not in (*known, "null")]


def _split(word: str) -> list[str]:
    """Divide `dataset=image_folder dataset.root=FOLDER` into its two words."""
    return word.split(" ") if word.startswith("dataset=") else [word]
