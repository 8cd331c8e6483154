"""What a user got wrong: what, where, and what to do about it."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
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
        text = f"{self.where}: {self.what}." + (f" {self.remedy}" if self.remedy else "")
        return "".join(map(_escape, text))


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


class MachineError(TrainingError):
    """What befell a run from outside, such as a full disk: nothing is wrong with it, and it can go on."""


def build_read_error(where: str, error: Exception, remedy: str) -> UserError:
    """That a file cannot be read. remedy: for what is wrong in it, not with the access to it."""
    if isinstance(error, OSError) and error.errno is not None:
        remedy = "See that you may read it, and that its disk is well."
    return UserError(where, f"cannot be read ({describe_error(error)})", remedy)


def describe_error(error: BaseException) -> str:
    """What an exception says, in one short line."""
    told = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return shorten(told.splitlines()[0])


def shorten(text: object, most: int = 150) -> str:
    """The beginning of what may be as long as its author liked."""
    return told if len(told := str(text)) <= most else f"{told[:most]}..."


def find_closest(name: str, names: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or None; of names as close the first."""
    known = list(names)
    close = difflib.get_close_matches(name, known)
    ratios = {k: difflib.SequenceMatcher(None, k, name).ratio() for k in known if k in close}
    return max(ratios, key=ratios.__getitem__, default=None)


def _escape(character: str) -> str:
    """A file's name may hold anything: line breaks, a terminal's commands, bytes that are no text."""
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character
