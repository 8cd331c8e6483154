"""Samples that a verb was given, and messages that name their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aeframe.core.errors import Problem, UserError
from aeframe.data.image_messages import note
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import SampleError, check_values, rows

AT_ONCE = 256  # samples that are looked through for the one that is wrong


@dataclass(frozen=True)
class Input:
    """Samples as they are stored.

    blocks: some at a time, [<= n, *shape], for n. check: raises SampleError for some that the model cannot
    take. names: of the files they are from, where each has its own. files: their names and how many samples
    each has, where one has many. where: for messages. changed: the images that had to become others, as far
    as they were read. brought: what to. as_given: lays samples out as those of the (first) array are.
    """

    where: str
    count: int
    blocks: Callable[[int], Iterator[np.ndarray]]
    check: Callable[[np.ndarray], None]
    names: list[str] | None = None
    files: tuple[tuple[str, int], ...] = ()
    changed: set[Path] = field(default_factory=set)
    brought: str = ""
    as_given: Callable[[np.ndarray], np.ndarray] = np.asarray

    def place(self, row: int) -> tuple[str, int]:
        """The file of a sample, and its row there."""
        for word, count in self.files:
            if row < count:
                return word, row
            row -= count
        return self.where, row

    def first_wrong(self) -> int:
        """The row of the first sample that the model cannot take."""
        row = 0
        for block in self.blocks(AT_ONCE):
            try:
                self.check(block)
            except SampleError as error:
                return row + error.row
            row += len(block)
        return row


def check_for(model: Model) -> Callable[[np.ndarray], None]:
    """Make what raises SampleError for samples that the model cannot take."""
    return lambda block: check_values(rows(block, "x"), model.description.data, "x")


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """Name the file in what the model says of its array."""
    try:
        yield
    except UserError as error:
        (problem, *others) = error.problems
        if others or problem.where not in ("x", "z"):
            raise
        remedy = problem.remedy.replace(f"{problem.where}[", "the array with [")
        raise UserError(where, problem.what, remedy) from error


@contextmanager
def reading(given: Input) -> Iterator[None]:
    """While samples are used: what is wrong with them is told, and at the end which are not as they were."""
    try:
        with told_of(given.where):
            try:
                yield
            except SampleError as error:  # whose row is counted within some of the samples
                where, row = given.place(given.first_wrong())
                raise SampleError(where, error.plain, error.remedy, row) from error
    finally:
        if count := len(given.changed):
            were = "image was" if count == 1 else "images were"
            what = f"{count:,} {were} brought to {given.brought}, as the model takes them"
            note(Problem(given.where, what))
