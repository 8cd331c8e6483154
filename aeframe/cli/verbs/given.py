"""Samples given to a verb, and messages that name their files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np

from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.data.images.image_messages import note
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import SampleError, convert_to_rows, normalize_samples

AT_ONCE = 256  # samples checked together, to find the first invalid one


@dataclass(frozen=True)
class Input:
    """Samples in their stored form.

    where: their name in messages. count: the number of samples. blocks: reads at most n samples at a
    time, [<= n, *shape]. check: raises SampleError for samples that the model cannot take. names: file
    names, if each sample has a file of its own. labels: names of the samples' classes, if they are known.
    files: names and numbers of samples, if a file holds many. changed: the converted images among those
    that were read. converted_to: their new size and type. restore_layout: restores the layout of the
    (first) array.
    """

    where: str
    count: int
    blocks: Callable[[int], Iterator[np.ndarray]]
    check: Callable[[np.ndarray], None]
    names: list[str] | None = None
    labels: list[str] | None = None
    files: tuple[tuple[str, int], ...] = ()
    changed: set[Path] = field(default_factory=set)
    converted_to: str = ""
    restore_layout: Callable[[np.ndarray], np.ndarray] = np.asarray

    def locate(self, row: int) -> tuple[str, int]:
        """Find the file of a sample, and its row in that file."""
        number = bisect_right(self._ends, row)
        if number == len(self.files):
            return self.where, row
        return self.files[number][0], row - (self._ends[number - 1] if number else 0)

    @cached_property
    def _ends(self) -> list[int]:
        """The numbers of samples up to the end of each file."""
        return list(accumulate(count for _, count in self.files))

    @property
    def heads(self) -> list[str]:
        """The heads of the columns that name a sample."""
        if self.names is not None:
            return ["name"]
        return ["file", "row"] if len(self.files) > 1 else ["row"]

    def name_row(self, row: int) -> tuple[str | int, ...]:
        """Name a sample by its own file, by its file and the row in it, or by its row."""
        if self.names is not None:
            return (self.names[row],)
        return self.locate(row) if len(self.files) > 1 else (row,)

    def find_invalid(self) -> int:
        """Find the row of the first sample that the model cannot take."""
        row = 0
        for block in self.blocks(AT_ONCE):
            try:
                self.check(block)
            except SampleError as error:
                return row + error.row
            row += len(block)
        return row


def make_check(model: Model) -> Callable[[np.ndarray], None]:
    """Make a check that raises SampleError for samples that the model cannot take."""
    data, normalization = model.description.data, model.net.normalization

    def check(block: np.ndarray) -> None:
        normalize_samples(convert_to_rows(block, "x"), data, normalization, "x")

    return check


@contextmanager
def name_source(where: str) -> Iterator[None]:
    """Replace the name of the array by that of its file in the model's messages."""
    try:
        yield
    except UserError as error:
        (problem, *others) = error.problems
        if others or problem.where not in ("x", "z"):
            raise
        remedy = problem.remedy.replace(f"{problem.where}[", "the array with [")
        raise UserError(where, problem.what, remedy) from error


@contextmanager
def explain_samples(given: Input) -> Iterator[None]:
    """Name file and row of an invalid sample in errors. At the end print how many images were converted."""
    try:
        with name_source(given.where):
            try:
                yield
            except SampleError as error:  # its row counts from the start of its block
                where, row = given.locate(given.find_invalid())
                raise SampleError(where, error.plain, error.remedy, row) from error
    finally:
        if count := len(given.changed):
            were = "image was" if count == 1 else "images were"
            what = f"{count:,} {were} converted to {given.converted_to}, as the model needs them"
            note(Problem(given.where, what))


@contextmanager
def rename_keys() -> Iterator[None]:
    """Rename configuration keys in messages to the options of the command line."""
    try:
        yield
    except UserError as error:
        raise ConfigError([_rename_key(problem) for problem in error.problems]) from error


def _rename_key(problem: Problem) -> Problem:
    where = problem.where.removeprefix("dataset.path=")
    remedy = problem.remedy
    for key, word in (("dataset.root=", "--root "), ("dataset.key=", "--key ")):
        where, remedy = where.replace(key, word), remedy.replace(key, word)
    if "dataset.layout=" in remedy:
        remedy = "Give an array of the shape that the model takes."
    return Problem(where, problem.what, remedy)
