"""Windows: samples that are parts of a series, which is in memory once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.data.rows import Rows, Spans

Segment = tuple[int, int]
"""The first step of a part of a series without gaps, and the step behind its last."""
MOST = 10_000  # steps, from which the automatic stride is longer than 1


class WindowRows(Rows):
    """Windows of a series [C, T], as views of it: [N, C, window].

    starts: the first step of each window, ascending, [N].
    """

    def __init__(self, series: Tensor, starts: Tensor, window: int) -> None:
        self.series, self.starts = series, starts
        self.shape, self.dtype = (len(starts), len(series), window), series.dtype
        self._views = series.unfold(1, window, 1).transpose(0, 1)

    @property
    def nbytes(self) -> int:
        return self.series.nbytes

    @property
    def is_in_memory(self) -> bool:
        return True

    @property
    def spans(self) -> Spans:
        return Spans(self.starts, self.shape[2])

    def copy_to(self, device: torch.device) -> WindowRows:
        return WindowRows(self.series.to(device), self.starts.to(device), self.shape[2])

    def select(self, rows: Tensor) -> Tensor:
        return self._views.index_select(0, self.starts.index_select(0, rows))

    def read_chunks(self) -> Iterator[tuple[int, Tensor]]:
        for first in range(0, len(self), self.chunk):
            starts = self.starts[first : first + self.chunk]
            yield first, self._views.index_select(0, starts)

    def read_all(self) -> Tensor:
        return self._views.index_select(0, self.starts)


def find_segments(values: np.ndarray, breaks: Sequence[int] = ()) -> list[Segment]:
    """Find the parts of a series [C, T] without gaps, which are NaN in any channel.

    breaks: steps that do not follow the one before.
    """
    present = (
        ~np.isnan(values).any(0) if values.dtype.kind == "f" else np.ones(values.shape[1], bool)
    )
    edges = np.zeros(values.shape[1] + 1, bool)
    edges[1:-1] = present[1:] != present[:-1]
    edges[[0, -1, *breaks]] = True
    places = edges.nonzero()[0].tolist()
    return [(a, b) for a, b in pairwise(places) if present[a]]


def list_starts(
    segments: Sequence[Segment], window: int, stride: int, *, to_the_end: bool = False
) -> np.ndarray:
    """List the first steps of all windows in the segments, each `stride` after the one before.

    to_the_end: whether each segment has a window that ends with it, as for results of all steps.
    """
    found = [np.zeros(0, np.int64)]
    for begin, end in segments:
        starts = np.arange(begin, end - window + 1, stride)
        last = end - window
        if to_the_end and len(starts) and starts[-1] != last:
            starts = np.append(starts, last)
        found.append(starts)
    return np.concatenate(found)


def choose_stride(steps: int, window: int, covers: int = 2) -> int:
    """Choose the stride: 1 for a short series; else there are 10,000 windows, or more.

    covers: windows that cover each step at least.
    """
    return max(1, min(window // covers, steps // MOST))


class OverlapAverage:
    """The average of windows [n, C, window] where they overlap, [C, steps]."""

    def __init__(self, channels: int, steps: int) -> None:
        self._total, self._times = np.zeros((channels, steps)), np.zeros(steps)

    def add(self, starts: np.ndarray, windows: np.ndarray) -> None:
        """Add windows that begin at these steps, each step once."""
        for place in range(windows.shape[2]):  # at one place, no two windows have the same step
            self._total[:, starts + place] += windows[:, :, place].T
            self._times[starts + place] += 1

    def compute(self) -> np.ndarray:
        """Return the average; NaN at steps without a window."""
        average: np.ndarray = self._total / np.maximum(self._times, 1)
        average[:, self._times == 0] = np.nan
        return average


def split_in_time(rows: Tensor, spans: Spans, held: int, val: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split windows into those for training, validation and the test, the last in time.

    rows: of the windows, ascending. held, val: numbers of windows for the test and validation. A window
    that overlaps a later split is left out. Raises UserError if none is left to train on.
    """
    before, test = _cut_off(rows, held, spans)
    train, validation = _cut_off(before, val, spans)
    if not len(train) or len(validation) < min(val, 1):
        what = f"no windows are left to train on: of {len(rows)}, the test takes {held}, validation {val}, "
        what += "and others overlap these"
        remedy = f"Write a smaller one than {spans.length}, a smaller dataset.stride, or give longer series."
        raise UserError("dataset.window", what, remedy)
    return train, validation, test


def _cut_off(rows: Tensor, count: int, spans: Spans) -> tuple[Tensor, Tensor]:
    """Cut off the last windows. Returns the windows that end before these begin, and these."""
    if not count or not len(rows):
        return rows, rows[:0]
    before, last = rows[:-count], rows[-count:]
    ends = spans.starts[before] + spans.length
    return before[ends <= spans.starts[last[0]]], last
