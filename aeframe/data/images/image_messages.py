"""Messages about image files: unreadable ones, and notes on the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from aeframe.core.distributed import get_rank
from aeframe.core.errors import Problem, UserError
from aeframe.data.images.brightness import find_narrow_range
from aeframe.data.images.image_reader import Noticed
from aeframe.data.normalization.value_range import format_range, guess_range
from aeframe.data.source import Raw


def build_images_error(bad: list[Problem], of: int, where: str, remedy: str) -> UserError:
    """Build the error for files that cannot be decoded. remedy: the override that skips them, if any."""
    shown = "; ".join(f"{p.where} {p.what}" for p in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    what = f"{len(bad)} unreadable image(s): {shown}{more}"
    skip = f", or write {remedy}" if remedy and len(bad) < of else ""
    return UserError(where, what, f"Remove or replace them{skip}.")


def describe_skipped(bad: list[Path], root: str, why: str) -> Problem:
    """Build the note on skipped files. why: the override that skips them."""
    what = f"{len(bad)} image(s) of {root} cannot be read and are left out: {list_some(bad)}"
    return Problem(why, what)


def list_some(paths: Sequence[Path]) -> str:
    """List the first files, and the number of the others."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def note(problem: Problem) -> None:
    """Print a note, once for all ranks."""
    if get_rank() == 0:
        print(f"aeframe: {problem}", file=sys.stderr)


def note_noticed(noticed: Noticed, where: str) -> None:
    """Print notes on files that were read only in part."""
    if pages := noticed.pages:
        files = sorted(pages)
        what = (
            f"{len(files)} TIFF(s) have several pages; only the first is read: {list_some(files)}"
        )
        note(Problem(where, what, "To read all pages, save each as a file."))
    if cut := sorted(noticed.cut):
        what = "image(s) have values outside the range of the training images, which are clipped"
        what = f"{len(cut)} {what}: {list_some(cut)}"
        note(Problem(where, what))


def note_levels(where: str, raw: Raw, file: Path) -> None:
    """Print the values of black and white, if they were not given and may be unexpected.

    raw: all images, in bytes. file: one of the files.
    """
    if raw.levels is not None:
        low, high = raw.levels
        what = f"{low:g} is black and {high:g} white in TIFFs of floats or 32-bit integers"
        remedy = (
            f"To change it, write dataset.range=[LOW,HIGH]; now it is {format_range(raw.levels)}."
        )
        note(Problem(where, what, remedy))
    elif (found := find_narrow_range(raw, file)) is not None:
        used, known = found
        what = f"values are {used[0]:g} to {used[1]:g}, in an assumed range of {known[0]:g} to {known[1]:g}"
        remedy = (
            f"If no others are possible, write dataset.range={format_range(guess_range(used))}."
        )
        note(Problem(where, what, remedy))
