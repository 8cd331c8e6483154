"""Messages about image files: those that cannot be read, and what is read of others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from aeframe.core.distributed import get_rank
from aeframe.core.errors import Problem, UserError
from aeframe.data.brightness import find_narrow_range
from aeframe.data.image_reader import Noticed
from aeframe.data.source import Raw
from aeframe.data.value_range import format_range, guess_range


def build_images_error(bad: list[Problem], of: int, where: str, remedy: str) -> UserError:
    """Build the error for files that cannot be decoded. remedy: what to write to leave them out."""
    shown = "; ".join(f"{p.where} {p.what}" for p in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    what = f"{len(bad)} unreadable image(s): {shown}{more}"
    skip = f", or write {remedy}" if len(bad) < of else ""
    return UserError(where, what, f"Remove or replace them{skip}.")


def describe_skipped(bad: list[Path], root: str, why: str) -> Problem:
    """Tell that some files are left out. why: what was written for that."""
    what = f"{len(bad)} image(s) of {root} cannot be read and are left out: {list_some(bad)}"
    return Problem(why, what)


def list_some(paths: Sequence[Path]) -> str:
    """The first of several files, and how many more there are."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def note(problem: Problem) -> None:
    """Notes on a run that is resumed."""
    if get_rank() == 0:
        print(f"aeframe: {problem}", file=sys.stderr)


def note_noticed(noticed: Noticed, where: str) -> None:
    """Tell of files of which something was left out."""
    if pages := noticed.pages:
        files = sorted(pages)
        what = f"{len(files)} TIFF(s) hold several pages, and the first is read: {list_some(files)}"
        note(Problem(where, what, "Save each page as a file of its own to read all."))
    if cut := sorted(noticed.cut):
        what = "image(s) hold values outside the training images', and are clipped"
        what = f"{len(cut)} {what}: {list_some(cut)}"
        note(Problem(where, what))


def note_levels(where: str, raw: Raw, file: Path) -> None:
    """Tell what is black and white, where nobody has said it and it is not what one would think.

    raw: all images, in bytes. file: of one of them.
    """
    if raw.levels is not None:
        low, high = raw.levels
        what = f"{low:g} is black and {high:g} white in TIFFs of floats or 32-bit integers"
        remedy = (
            f"Write dataset.range=[LOW,HIGH] if other values are, now {format_range(raw.levels)}."
        )
        note(Problem(where, what, remedy))
    elif (found := find_narrow_range(raw, file)) is not None:
        used, known = found
        what = f"values are {used[0]:g} to {used[1]:g}, and count as {known[0]:g} to {known[1]:g}"
        remedy = f"If they can be no others, write dataset.range={format_range(guess_range(used))}."
        note(Problem(where, what, remedy))
