"""Series in tables: one column for each channel, or one row for each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aeframe.core.errors import UserError, find_closest, shorten
from aeframe.data.series.recording import LARGEST, Recording
from aeframe.data.table_cells import (
    DATE,
    Cells,
    Floats,
    clean_cells,
    find_gaps,
    is_text,
    parse_dates,
    parse_numbers,
    require_tables,
    write_texts,
)
from aeframe.data.tables.table_file import TableFile, open_table
from aeframe.data.tables.table_looks import Decimal, replace_commas
from aeframe.data.tables.text_dialect import Delimiter

TIMES = ("time", "timestamp", "date", "datetime", "ds", "t")
"""Names of a first column that `time=auto` takes for times."""
JUMP = 1.5
"""Usual steps between two times, from which the series has a gap."""
IRREGULAR = 0.01
"""Share of the usual step by which steps may differ."""
UNNAMED = "?"


@dataclass(frozen=True)
class Reading:
    """How a series is read from a table; see `Series`."""

    time: str | None = "auto"
    label: str | None = None
    channel: str | None = None
    value: str | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    delimiter: Delimiter = "auto"
    decimal: Decimal = "auto"
    encoding: str = "auto"


def read_table(path: Path, where: str, reading: Reading) -> list[Recording]:
    """Read a table. Raises UserError that names column and line of a cell that does not fit."""
    require_tables(where)
    file = open_table(path, where, delimiter=reading.delimiter, encoding=reading.encoding)
    time = _find_time(file, reading)
    used = [time, reading.label, reading.channel, reading.value]
    keys = dict(zip(("time", "label", "channel", "value"), used, strict=True))
    for key, name in keys.items():
        if name is not None:
            _require_column(file, name, f"dataset.{key}={name}")
    names = _choose_names(file, reading, [name for name in used if name is not None])
    is_long = reading.channel is not None
    wanted = list(dict.fromkeys([n for n in used if n is not None] + ([] if is_long else names)))
    cells = _read_cells(file, wanted)
    if not len(cells[wanted[0]]):
        raise UserError(where, "has no rows", "Give a series of more steps than dataset.window.")
    if is_long:
        return [_pivot(file, cells, reading, str(time))]
    values = np.stack([_parse(file, name, cells[name], reading) for name in names])
    labels = None if reading.label is None else _read_labels(cells[reading.label])
    if time is None:
        return [Recording(where, tuple(names), values, labels=labels)]
    clock = _find_clock(file, time, *_parse_times(file, time, cells[time]))
    return [Recording(where, tuple(names), values, clock.breaks, labels, cells[time], clock.step)]


def _find_time(file: TableFile, reading: Reading) -> str | None:
    if reading.time != "auto":
        return reading.time
    return file.names[0] if file.names[0].lower() in TIMES else None


def _require_column(file: TableFile, name: str, where: str) -> None:
    if name not in file.names:
        close = find_closest(name, file.names)
        remedy = f"Did you mean {shorten(close)}? " if close else ""
        listed = ", ".join(map(shorten, file.names[:8]))
        raise UserError(where, f"is no column of {file.path.name}", f"{remedy}It has {listed}.")


def _choose_names(file: TableFile, reading: Reading, used: Sequence[str]) -> list[str]:
    for key in ("columns", "drop"):
        for name in getattr(reading, key) or ():
            _require_column(file, name, f"dataset.{key}=[{name}]")
    names = list(file.names if reading.columns is None else reading.columns)
    names = [name for name in names if name not in (*used, *reading.drop)]
    if not names and reading.channel is None:
        raise UserError(file.where, "has no column of values left", "Leave out fewer columns.")
    return names


def _read_cells(file: TableFile, names: Sequence[str]) -> dict[str, Cells]:
    import pyarrow as pa

    table = pa.concat_tables(list(file.read_batches(names)))
    return {name: clean_cells(table[name]) for name in names}


def _parse(file: TableFile, name: str, cells: Cells, reading: Reading) -> np.ndarray:
    """Parse numbers as float32, with NaN for gaps."""
    gaps, numbers = find_gaps(cells), parse_numbers(cells)
    if is_text(cells) and reading.decimal != "point" and (np.isnan(numbers) & ~gaps).any():
        with_points = parse_numbers(replace_commas(cells))
        if reading.decimal == "comma" or not (np.isnan(with_points) & ~gaps).any():
            numbers = with_points
    wrong = ~gaps & (np.isnan(numbers) | (np.abs(numbers) > LARGEST))
    if wrong.any():
        row = int(wrong.argmax())
        is_number = not np.isnan(numbers[row])
        fault = "beyond the range of float32" if is_number else "no number"
        what = f"{file.describe_row(row)}, column {shorten(name)}: {_quote(cells, row)} is {fault}"
        remedy = f"Correct it, or leave the column out: dataset.drop=[{name}]."
        if np.mean(wrong) > 0.5 and not is_number:
            remedy = f"If these are times, write dataset.time={name}; else dataset.drop=[{name}]."
        raise UserError(file.where, what, remedy)
    return numbers.astype(np.float32)


def _quote(cells: Cells, row: int) -> str:
    return shorten(repr(cells[row].as_py()), 60)


def _read_labels(cells: Cells) -> np.ndarray:
    return np.array(write_texts(cells).fill_null(UNNAMED).to_pylist(), np.str_)


def _parse_times(file: TableFile, name: str, cells: Cells) -> tuple[Floats, str]:
    """Parse times: numbers, or dates as seconds. Returns them with their unit. Raises UserError."""
    gaps = find_gaps(cells)
    if gaps.any():
        what = (
            f"{file.describe_row(int(gaps.argmax()))}, column {shorten(name)}: the time is missing"
        )
        raise UserError(file.where, what, "Give each row a time, or write dataset.time=null.")
    read = {order: parse_dates(cells, order) * 86_400 for order in DATE}
    known = {"": parse_numbers(cells), **read}
    wrong = {order: np.isnan(times) for order, times in known.items()}
    best = min(wrong, key=lambda order: int(wrong[order].sum()))
    if wrong[best].any():
        row = int(wrong[best].argmax())
        what = f"{file.describe_row(row)}, column {shorten(name)}: {_quote(cells, row)} is no time"
        raise UserError(file.where, what, "Write times as numbers or as 2026-01-31 12:00:00.")
    if best and sum(not each.any() for each in wrong.values()) > 1:
        what = f"column {shorten(name)}: {_quote(cells, 0)} may be day and month, or month and day"
        raise UserError(file.where, what, "Write dates as 2026-01-31.")
    return known[best], " s" if best else ""


class _Clock(NamedTuple):
    """Steps of time: where it jumps, and the usual step in words."""

    breaks: tuple[int, ...]
    step: str


def _find_clock(file: TableFile, name: str, times: Floats, unit: str) -> _Clock:
    """Find the jumps of ascending times. Raises UserError for times that do not ascend."""
    steps = np.diff(times)
    if not len(steps):
        return _Clock((), "")
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        is_twice = steps[row - 1] == 0
        fault = "is there twice" if is_twice else "is before that of the row above"
        what = f"{file.describe_row(row)}, column {shorten(name)}: the time {fault}"
        remedy = "Sort the rows by time"
        if is_twice:
            remedy = "For one row for each value, write dataset.channel=COLUMN dataset.value=COLUMN"
        raise UserError(file.where, what, f"{remedy}.")
    usual = float(np.median(steps))
    breaks = (steps > JUMP * usual).nonzero()[0] + 1
    uneven = np.mean((np.abs(steps - usual) > IRREGULAR * usual) & (steps <= JUMP * usual))
    words = f"{usual:.6g}{unit}" + (f" ({uneven:.0%} of the steps differ)" if uneven else "")
    return _Clock(tuple(breaks.tolist()), words)


def _pivot(file: TableFile, cells: dict[str, Any], reading: Reading, time: str) -> Recording:
    """Bring one row for each value into the form of one row for each time."""
    assert reading.channel is not None
    assert reading.value is not None
    times, unit = _parse_times(file, time, cells[time])
    channels = np.array(write_texts(cells[reading.channel]).fill_null("").to_pylist(), np.str_)
    found = [name for name in dict.fromkeys(channels.tolist()) if name]
    if not all(channels.tolist()):
        row = int((channels == "").argmax())
        what = (
            f"{file.describe_row(row)}, column {shorten(reading.channel)}: the channel is missing"
        )
        raise UserError(file.where, what, "Name the channel of each value.")
    names = [n for n in (reading.columns or sorted(found)) if n not in reading.drop]
    if unknown := [name for name in names if name not in found]:
        raise UserError(
            file.where, f"has no channel {shorten(unknown[0])}", "Correct dataset.columns."
        )
    numbers = _parse(file, reading.value, cells[reading.value], reading)
    stamps, first, steps = np.unique(times, return_index=True, return_inverse=True)
    values = np.full((len(names), len(stamps)), np.nan, np.float32)
    for number, name in enumerate(names):
        rows = (channels == name).nonzero()[0]
        own = steps[rows]
        if len(np.unique(own)) < len(own):
            order = np.argsort(own, kind="stable")
            again = int(rows[order[1:][np.diff(own[order]) == 0][0]])
            what = f"{file.describe_row(again)}: channel {shorten(name)} has two values at one time"
            raise UserError(file.where, what, "Leave one out.")
        values[number, own] = numbers[rows]
    labels = None if reading.label is None else _read_labels(cells[reading.label])[first]
    clock = _find_clock(file, time, stamps, unit)
    written = cells[time].take(first)
    return Recording(file.where, tuple(names), values, clock.breaks, labels, written, clock.step)
