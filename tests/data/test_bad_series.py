# ruff: noqa: E501 (the tables keep each file and its message on one line)
"""Series that cannot be used: one message each, with the file, the place and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from aeframe.data import Series

pytest.importorskip("pyarrow")

GOOD = "time,a,b\n" + "\n".join(f"{i},{i % 5},{i % 3}" for i in range(40))


def change(line: int, text: str) -> str:
    lines = GOOD.split("\n")
    lines[line - 1] = text
    return "\n".join(lines)


TABLES: list[tuple[str, dict[str, Any], str]] = [
    (GOOD, {"window": 50}, "dataset.window=50: dataset.path has no such window: its longest part without gaps has 40 steps. Write dataset.window=10."),
    (change(7, "5,x,2"), {}, "FILE: line 7, column a: 'x' is no number. Correct it, or leave the column out: dataset.drop=[a]."),
    (change(7, "5,1e99,2"), {}, "FILE: line 7, column a: '1e99' is beyond the range of float32."),
    (change(7, "2.5,0,2"), {}, "FILE: line 7, column time: the time is before that of the row above. Sort the rows by time."),
    (change(7, "4,0,2"), {}, "FILE: line 7, column time: the time is there twice. For one row for each value, write dataset.channel=COLUMN dataset.value=COLUMN."),
    (change(7, ",0,2"), {}, "FILE: line 7, column time: the time is missing."),
    (change(7, "noon,0,2"), {}, "FILE: line 7, column time: 'noon' is no time."),
    (change(7, "5,0"), {}, "FILE: line 7 has 2 cells, and line 1 has 3."),
    (change(1, "time,a,a"), {}, "FILE: has the column a more than once (columns 2 and 3)."),
    ("when,a\n" + "\n".join(f"2026-01-{i:02},{i}" for i in range(1, 30)), {}, "FILE: line 2, column when: '2026-01-01' is no number. If these are times, write dataset.time=when; else dataset.drop=[when]."),
    ("time,a\n" + "\n".join(f"0{i}/01/2026,{i}" for i in range(1, 9)), {}, "FILE: column time: '01/01/2026' may be day and month, or month and day. Write dates as 2026-01-31."),
    ("time,a\n" + "\n".join(f"{i}," for i in range(30)), {}, "FILE: has a gap at every step."),
    ("time,a\n", {}, "FILE: has no rows."),
    ("", {}, "FILE: is empty."),
    (GOOD, {"time": "clock"}, "dataset.time=clock: is no column of s.csv. It has time, a, b."),
    (GOOD, {"columns": ["c"]}, "dataset.columns=[c]: is no column of s.csv."),
    (GOOD, {"drop": ["a", "b"]}, "FILE: has no column of values left."),
    (GOOD, {"label": "state"}, "dataset.label=state: is no column of s.csv."),
    (GOOD, {"channel": "a"}, "dataset.channel: needs dataset.value, too. Write dataset.value=COLUMN."),
    (GOOD, {"channel": "a", "value": "b"}, "dataset.channel: needs dataset.time, too."),
    ("t,c,v\n1,x,2\n1,x,3\n2,x,4", {"time": "t", "channel": "c", "value": "v", "window": 2}, "FILE: line 3: channel x has two values at one time. Leave one out."),
    ("t,c,v\n1,x,2\n2,,3", {"time": "t", "channel": "c", "value": "v", "window": 2}, "FILE: line 3, column c: the channel is missing."),
    (GOOD, {"test_path": "OTHER"}, "dataset.test_path: has the channels a, dataset.path has a, b."),
    (GOOD, {"path": ["FILE", "OTHER"]}, "has the channels a, and the first file has a, b."),
    (GOOD, {"path": "FOLDER"}, "FOLDER: is a folder. Name its files: dataset.path='"),
    (GOOD, {"path": "no*.csv"}, "dataset.path=no*.csv: matches no files."),
    (GOOD, {"path": None}, "dataset.path: no file given. Write dataset.path=FILE.csv."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "told"), TABLES)
def test_tables_that_cannot_be_used(
    tmp_path: Path, text: str, options: dict[str, Any], told: str
) -> None:
    file, other = tmp_path / "s.csv", tmp_path / "other.csv"
    file.write_text(text)
    other.write_text("time,a\n" + "\n".join(f"{i},{i}" for i in range(40)))
    places = {"FILE": str(file), "OTHER": str(other), "FOLDER": str(tmp_path)}
    options = {
        key: [places[v] for v in value] if key == "path" and isinstance(value, list)
        else places.get(value, value) if isinstance(value, str) else value
        for key, value in options.items()
    }  # fmt: skip
    (problem, *others) = Series(**{"path": str(file), "window": 8, **options}).problems()
    assert not others
    for word, place in places.items():
        told = told.replace(f"{word}:", f"dataset.path={place}:")
    assert told in str(problem)


def write_file(folder: Path, kind: str) -> str:
    """Write a broken file of numbers or sound, and return its name."""
    array, x = folder / "x.npy", np.arange(60, dtype=np.float32).reshape(30, 2)
    if kind == "infinite":
        x[7, 1] = np.inf
    changed = {
        "wide": x.T, "4 axes": x[None, None], "complex": x.astype("c8"), "text": np.array(["a"] * 30),
        "empty": x[:0], "huge": x.astype("f8") * 1e40, "gaps": np.full_like(x, np.nan),
    }.get(kind, x)  # fmt: skip
    np.save(array, changed)
    if kind == "cut":
        array.write_bytes(array.read_bytes()[:-9])
    if kind == "text as array":
        array.write_text(GOOD)
    sound = folder / "x.wav"
    wavfile.write(sound, 100, x)
    if kind == "text as sound":
        sound.write_text(GOOD)
    if kind == "cut sound":
        sound.write_bytes(sound.read_bytes()[:-9])
    if kind == "no sound":
        wavfile.write(sound, 100, x[:0])
    if kind == "other":
        (folder / "x.mp3").write_bytes(b"ID3")
        return "x.mp3"
    return "x.wav" if "sound" in kind else "x.npy"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("wide", "has shape (2, 30): 2 steps of 30 channels. Give time first, [T, C]: numpy.save(FILE, x.T)."),
        ("4 axes", "has shape (1, 1, 30, 2). Give a series [T], channels [T, C], or several series [N, C, T]."),
        ("complex", "holds complex64, not numbers."),
        ("text", "holds <U1, not numbers."),
        ("empty", "has shape (0, 2)."),
        ("infinite", "channel 1 holds infinity, or a value beyond float32, at step 7 (from 0). Correct it, or make it NaN: a gap."),
        ("huge", "channel 0 holds infinity, or a value beyond float32, at step 1 (from 0)."),
        ("gaps", "has a gap at every step."),
        ("cut", "cannot be read (it has 359 bytes instead of the 368 of its header). Save the array again."),
        ("text as array", "cannot be read ("),
        ("text as sound", "is no sound file (it does not begin with RIFF ... WAVE)."),
        ("cut sound", "is cut: its header names 240 bytes of data, and 231 are there."),
        ("no sound", "holds no sound."),
        ("other", "is no table that can be read."),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path: Path, kind: str, told: str) -> None:
    path = str(tmp_path / write_file(tmp_path, kind))
    (problem,) = Series(path=path, window=8).problems()
    assert str(problem).startswith(f"dataset.path={path}: {told}")
    assert problem.remedy


def test_options_of_tables_need_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(30, np.float32))
    path = str(tmp_path / "x.npy")
    (problem,) = Series(path=path, window=8, label="state").problems()
    assert (
        str(problem)
        == "dataset.label=state: needs a table, and x.npy has no columns with names. Leave it out."
    )
    (problem,) = Series(path=path, window=8, columns=["a"]).problems()
    assert str(problem) == "dataset.columns=[a]: is no channel: they are 0. Correct it."
    (problem,) = Series(path=path, window=8, drop=[0]).problems()
    assert str(problem) == "dataset.drop: leaves no channel. Leave out fewer."
