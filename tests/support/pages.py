"""Pages of documentation, and the commands that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep

from tests.support.runs import TRAIN

ROOT = TRAIN.parent
NAMES = ("README.md", "conf/README.md", "aeframe/README.md", "tests/README.md")
PAGES = {name: (ROOT / name).read_text("utf-8") for name in NAMES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:python -m|python train\.py|tensorboard|pre-commit|\.ci/run)[^`\n]*)`")


class Command(NamedTuple):
    """A command of a page, as its words."""

    page: str
    section: str
    words: tuple[str, ...]

    @property
    def written(self) -> str:
        """The command as one line."""
        return shlex.join(self.words)


def blocks(page: str, language: str) -> list[str]:
    """List the blocks of a language on a page."""
    return [block for found, block in FENCE.findall(PAGES[page]) if found == language]


def sections(page: str) -> dict[str, str]:
    """Read the text below each heading of the second level, by the heading."""
    parts = re.split(r"^## (.+)\n", PAGES[page], flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def commands(page: str) -> Iterator[Command]:
    """List the commands of a page: the lines of its shell blocks, and those in a sentence."""
    for heading, text in sections(page).items():
        lines = [
            line
            for language, block in FENCE.findall(text)
            if language == "bash"
            for line in block.splitlines()
        ]
        for line in (*lines, *INLINE.findall(FENCE.sub("", text))):
            yield Command(page, heading, tuple(shlex.split(line, comments=True)))


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def overrides(command: Command) -> tuple[str, ...] | None:
    """Return the words after `python train.py`, also inside another command, if it trains."""
    if command.words[0] == "sbatch":
        words = tuple(shlex.split(command.words[-1].removeprefix("srun ")))
    else:
        words = command.words
    return words[2:] if words[:2] == ("python", "train.py") else None


def jobs(words: tuple[str, ...]) -> list[list[str]]:
    """List the jobs of a sweep as a user would type each; for a range of numbers, its ends."""
    ours = [word for word in words if word != "-m" and not word.startswith("hydra")]
    parsed = OverridesParser.create().parse_overrides(ours)
    return [list(job) for job in product(*map(_values, parsed))]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if override.is_discrete_sweep():
        values = list(override.sweep_string_iterator())
        values = [values[0], values[-1]] if isinstance(override.value(), RangeSweep) else values
    else:
        values = [override.value().start, override.value().end]
    return [f"{override.get_key_element()}={value}" for value in values]
