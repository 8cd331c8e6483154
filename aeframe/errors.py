"""What a user got wrong: what, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake.

    where: the config key as it is typed on the command line, or the file. what: one sentence.
    remedy: one sentence that says what to write or do instead.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}." + (f" {self.remedy}" if self.remedy else "")


class UserError(Exception):
    """A mistake of the user's, shown without a traceback; the process ends with status 2."""

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(where, what, remedy),)
        super().__init__(where, what, remedy)  # the arguments, so that it survives pickling

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class ConfigError(UserError):
    """Every mistake of a configuration at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("configuration", f"{len(problems)} mistake(s)")
        self.problems = tuple(problems)
        self.args = (self.problems,)


class TrainingError(Exception):
    """Training went wrong through nobody's typing: the process ends with status 1."""

    def __init__(self, text: str) -> None:
        # from a process that fetches data it comes with that one's traceback
        super().__init__(text.strip().rpartition("TrainingError: ")[2])
