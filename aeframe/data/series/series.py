"""Samples from series in time: windows of several channels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from aeframe.core.bounds import AtLeast
from aeframe.core.errors import Problem, UserError, shorten
from aeframe.data.memory_map import as_tensor
from aeframe.data.series.recording import Recording, read_numbers, read_sound
from aeframe.data.series.series_table import Reading, read_table
from aeframe.data.shards.shard_files import Paths, list_shards
from aeframe.data.source import Raw, Shape, Source
from aeframe.data.tables.table_looks import Decimal
from aeframe.data.tables.text_dialect import Delimiter
from aeframe.data.windows import Segment, WindowRows, choose_stride, find_segments, list_starts


@dataclass(frozen=True)
class Joined:
    """The series of all files behind each other, values [C, T]. segments: its parts without gaps.

    labels: a text for each step, or None. step: between two steps, in words. files: their number.
    """

    values: np.ndarray
    names: tuple[str, ...]
    segments: tuple[Segment, ...]
    labels: np.ndarray | None
    step: str
    files: int


@dataclass(kw_only=True, eq=False)
class Series(Source):
    """Windows of series in time: CSV, TSV or Parquet, .npy ([T], [T, C] or [N, C, T]) or .wav files.

    A window never spans two files, a gap (an empty cell or NaN) or a jump in time. The last windows are for
    the test, those before for validation, and none of them overlaps one of another split.

    path: the file, a pattern such as days/*.csv, or a list of them. val_path, test_path: those of other
    splits. window: steps of a sample. stride: steps from one window to the next; `auto`: 1 for up to
    10,000 steps, then more, up to half a window. columns: the only channels to use. drop: those to leave
    out. time: the column of times; `auto`: the first column if it is called time, date or the like.
    label: the column with the class of each step, which is not trained on; a window has the rarest of its
    classes. channel, value: for tables with one row for each value, the columns of channel and value.
    delimiter, decimal, encoding: of text files; `auto` looks.
    """

    path: str | list[str] | None = None
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    window: Annotated[int, AtLeast(2)] = 100
    stride: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    columns: Sequence[str | int] | None = None
    drop: Sequence[str | int] = ()
    time: str | None = "auto"
    label: str | None = None
    channel: str | None = None
    value: str | None = None
    delimiter: Delimiter = "auto"
    decimal: Decimal = "auto"
    encoding: str = "auto"

    def shape(self) -> Shape | None:
        try:
            return None if self.path is None else (len(self._train.names), self.window)
        except UserError:
            return None

    def description(self) -> str:
        count = len(self._train.names)
        channels = f"{count:,} channel{'' if count == 1 else 's'}"
        return f"Series of {channels} in windows of {self.window:,} steps"

    def list_findings(self) -> list[str]:
        one = self._train
        steps, files = one.values.shape[1], "" if one.files == 1 else f" in {one.files:,} files"
        each = "" if not one.step else f", a step is {one.step}"
        parts = len(one.segments) - one.files
        gaps = f", {len(one.segments):,} parts between gaps" if parts > 0 else ""
        listed = ", ".join(map(shorten, one.names[:8])) + (", ..." if len(one.names) > 8 else "")
        told = f"Series: {steps:,} steps{files}{each}{gaps}; channels {listed}."
        every = "each step" if self._stride == 1 else f"every {self._stride:,} steps"
        return [told, f"Windows: of {self.window:,} steps, one begins {every}."]

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.csv.")]
        if (self.channel is None) != (self.value is None):
            key, other = ("channel", "value") if self.value is None else ("value", "channel")
            what, remedy = f"needs dataset.{other}, too", f"Write dataset.{other}=COLUMN."
            return [Problem(f"dataset.{key}", what, remedy)]
        if self.channel is not None and self.time in ("auto", None):
            return [
                Problem("dataset.channel", "needs dataset.time, too", "Write dataset.time=COLUMN.")
            ]
        try:
            train = self._train
            for option, one in self._others.items():
                if one.names != train.names:
                    what = f"has the channels {', '.join(map(shorten, one.names[:8]))}, dataset.path has "
                    what += ", ".join(map(shorten, train.names[:8]))
                    return [
                        Problem(f"dataset.{option}", what, "Give each split the same channels.")
                    ]
            for option, one in {"path": train, **self._others}.items():
                self._require_windows(option, one)
        except UserError as error:
            return list(error.problems)
        return []

    def _require_windows(self, option: str, one: Joined) -> None:
        if len(list_starts(one.segments, self.window, self._stride)):
            return
        longest = max((end - begin for begin, end in one.segments), default=0)
        what = f"dataset.{option} has no such window: its longest part without gaps has {longest:,} steps"
        remedy = (
            f"Write dataset.window={max(2, longest // 4)}." if longest > 8 else "Fill the gaps."
        )
        raise UserError(f"dataset.window={self.window}", what, remedy)

    def load(self) -> Raw:
        others = {option: self._make_raw(option, one) for option, one in self._others.items()}
        raw = self._make_raw("path", self._train)
        return replace(raw, val=others.get("val_path"), test=others.get("test_path"))

    def _make_raw(self, option: str, one: Joined) -> Raw:
        starts = list_starts(one.segments, self.window, self._stride)
        rows = WindowRows(as_tensor(one.values), torch.from_numpy(starts), self.window)
        raw = Raw(rows, origin=f"dataset.{option}", names=one.names)
        if one.labels is None:
            return raw
        classes, numbers, counts = np.unique(one.labels, return_inverse=True, return_counts=True)
        rarity = np.argsort(np.argsort(-counts, kind="stable"))  # 0 for the most frequent class
        views = np.lib.stride_tricks.sliding_window_view(rarity[numbers], self.window)
        label = np.argsort(rarity)[views[starts].max(1)]
        return replace(raw, labels=torch.from_numpy(label), classes=tuple(map(str, classes)))

    @property
    def _stride(self) -> int:
        if self.stride != "auto":
            return self.stride
        return choose_stride(self._train.values.shape[1], self.window)

    @cached_property
    def _train(self) -> Joined:
        assert self.path is not None, "see problems()"
        return join(self.read(self.path, "path"))

    @cached_property
    def _others(self) -> dict[str, Joined]:
        """The series of other splits, by option."""
        paths = {"val_path": self.val_path, "test_path": self.test_path}
        return {o: join(self.read(path, o)) for o, path in paths.items() if path is not None}

    def read(self, paths: Paths, option: str) -> list[Recording]:
        """Read the series of all files. Raises UserError."""
        found = list[Recording]()
        for path in [paths] if isinstance(paths, str) else paths:
            if os.path.isdir(os.path.expanduser(path)):
                remedy = f"Name its files: dataset.{option}='{path}/*.csv'."
                raise UserError(f"dataset.{option}={path}", "is a folder", remedy)
        for file in list_shards(paths, option):
            found += self._read_file(file, f"dataset.{option}={file}")
        return found

    def _read_file(self, file: Path, where: str) -> list[Recording]:
        reading = Reading(
            self.time,
            self.label,
            self.channel,
            self.value,
            None if self.columns is None else tuple(map(str, self.columns)),
            tuple(map(str, self.drop)),
            self.delimiter,
            self.decimal,
            self.encoding,
        )
        kinds = {".npy": read_numbers, ".wav": read_sound}
        if (read := kinds.get(file.suffix.lower())) is None:
            return read_table(file, where, reading)
        for key in ("label", "channel", "value"):
            if getattr(self, key) is not None:
                what = f"needs a table, and {file.name} has no columns with names"
                raise UserError(f"dataset.{key}={getattr(self, key)}", what, "Leave it out.")
        return [choose_channels(one, reading) for one in read(file, where)]


def choose_channels(one: Recording, reading: Reading) -> Recording:
    """Choose the channels of a recording by name. Raises UserError for unknown names."""
    for key in ("columns", "drop"):
        for name in getattr(reading, key) or ():
            if name not in one.names:
                what = f"is no channel: they are {', '.join(one.names[:8])}"
                raise UserError(f"dataset.{key}=[{name}]", what, "Correct it.")
    names = [n for n in reading.columns or one.names if n not in reading.drop]
    if not names:
        raise UserError("dataset.drop", "leaves no channel", "Leave out fewer.")
    if names == list(one.names):  # without a copy
        return one
    chosen = one.values[[one.names.index(name) for name in names]]
    return replace(one, names=tuple(names), values=chosen)


def join(recordings: Sequence[Recording]) -> Joined:
    """Join the series of several files. Raises UserError for other channels, or other types of numbers."""
    first = recordings[0]
    for one in recordings[1:]:
        if one.names != first.names:
            what = f"has the channels {', '.join(map(shorten, one.names[:8]))}, and the first file has "
            what += ", ".join(map(shorten, first.names[:8]))
            raise UserError(one.where, what, "Give files of the same channels in the same order.")
        if one.values.dtype != first.values.dtype:
            what = f"holds {one.values.dtype}, and the first file {first.values.dtype}"
            raise UserError(one.where, what, "Give files of one type.")
    segments, begin = list[Segment](), 0
    for one in recordings:
        segments += [(begin + a, begin + b) for a, b in find_segments(one.values, one.breaks)]
        begin += one.values.shape[1]
    if not segments:
        raise UserError(
            first.where, "has a gap at every step", "Leave out channels without values."
        )
    labels = [one.labels for one in recordings if one.labels is not None]
    return Joined(
        first.values if len(recordings) == 1 else np.concatenate([r.values for r in recordings], 1),
        first.names,
        tuple(segments),
        np.concatenate(labels) if labels else None,
        first.step,
        len(recordings),
    )
