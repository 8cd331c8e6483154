"""Errors for users: what is wrong, where it is, and what to do."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ALIKE = str.maketrans("l10", "iio")
"""Characters of lower case that look like others."""


@dataclass(frozen=True)
class Problem:
    """One mistake.

    where: the config key, as on the command line, or the file. what: one sentence.
    remedy: one sentence with what to write or do instead.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}." + (f" {self.remedy}" if self.remedy else "")
        return "".join(map(_escape, text))


class UserError(Exception):
    """A mistake by the user. It is shown without a traceback; the exit status is 2."""

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(where, what, remedy),)
        super().__init__(where, what, remedy)  # the arguments, so that the error can be pickled

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class ConfigError(UserError):
    """All mistakes in a configuration, reported together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("configuration", f"{len(problems)} mistake(s)")
        self.problems = tuple(problems)
        self.args = (self.problems,)


class TrainingError(Exception):
    """A failure during training that is not a user's mistake; the exit status is 1."""

    def __init__(self, text: str) -> None:
        # an error from a data worker contains the traceback of the worker
        super().__init__(text.strip().rpartition("TrainingError: ")[2])


class MachineError(TrainingError):
    """A failure of the machine, such as a full disk; the run is intact and can be resumed."""


def build_read_error(where: str, error: Exception, remedy: str) -> UserError:
    """Build the error for an unreadable file. remedy: for bad content; missing access has its own."""
    if isinstance(error, OSError) and error.errno is not None:
        remedy = "Check the permissions of the file, and its disk."
    return UserError(where, f"cannot be read ({describe_error(error)})", remedy)


def describe_error(error: BaseException) -> str:
    """Summarize an exception in one short line."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return shorten(text.splitlines()[0])


def shorten(text: object, most: int = 150) -> str:
    """Shorten a text of unknown length to its first characters."""
    return whole if len(whole := str(text)) <= most else f"{whole[:most]}..."


def find_closest(name: str, names: Iterable[str]) -> str | None:
    """Find the known name that was probably meant, or None. Of equally close names, the first wins.

    A name that differs only in upper and lower case, or in characters that look alike, is the closest.
    """
    known = list(names)
    if alike := [one for one in known if _fold(one) == _fold(name)]:
        return name if name in alike else alike[0]
    close = difflib.get_close_matches(name, known)
    ratios = {k: difflib.SequenceMatcher(None, k, name).ratio() for k in known if k in close}
    return max(ratios, key=ratios.__getitem__, default=None)


def _fold(name: str) -> str:
    """Make names equal that look alike, such as RI, Rl and r1."""
    return name.lower().translate(ALIKE)


def _escape(character: str) -> str:
    """Escape a control character: a file name may contain line breaks, terminal commands or invalid UTF-8."""
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character
