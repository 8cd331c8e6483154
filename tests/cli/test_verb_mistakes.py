"""Mistakes in the words of a verb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.digits import DIGITS
from tests.support.verbs import Verb

MISTAKES = [
    # the words, RUN in the place of the run, and how the one line begins
    ("encode", "the following arguments are required: RUN, INPUT, -o/--out"),
    ("encode RUN digits", "the following arguments are required: -o/--out"),
    ("encode RUN digits --out x.txt", "--out x.txt: must end in .npy, .npz, .csv or .parquet"),
    ("encode RUN digits --out no/x.npy", "--out no/x.npy: the folder no does not exist. Create it first."),
    ("encode RUN digits --out there.npy", "--out there.npy: exists already. Use --force"),
    ("encode RUN digits --out full", "--out full: must end in .npy, .npz"),
    (
        "sample RUN --out s.jpg",
        "--out s.jpg: must end in .png, .npy, .npz, .csv or .parquet, or be a folder",
    ),
    ("decode RUN codes.npy --out d.csv", "--out d.csv: this model was not trained on a table"),
    (
        "decode RUN codes.npy --out d.txt",
        "--out d.txt: must end in .npy, .npz, .csv or .parquet, or be a folder",
    ),
    ("encode nowhere digits --out x.npy", "nowhere: no such file or folder"),
    ("encode RUN nowhere.png --out x.npy", "nowhere.png: no such file or folder"),
    ("encode RUN bad.npy --out x.npy", "bad.npy: cannot be read"),
    ("encode RUN wide.npy --out x.npy", "wide.npy: has shape [3, 1, 9, 9], but this model takes [N,"),
    ("encode RUN floats.npy --out x.npy", "floats.npy: must be whole numbers (uint8), but holds "),
    ("encode RUN two.npz --out x.npy", "two.npz: holds 2 arrays: a, b. Write --key NAME"),
    ("encode RUN two.npz --key c --out x.npy", "--key c: is not among the arrays of two.npz"),
    ("encode RUN there.npy full/a.png --out x.npy", "there.npy: is an array among images"),
    ("encode RUN text.txt --out x.npy", "text.txt: is neither an image nor an array"),
    ("encode RUN empty --out x.npy", "empty: contains no images"),
    ("encode RUN full --out x.npy", "INPUT: 1 unreadable image(s): full/a.png"),
    ("encode RUN mnist --root nowhere --out x.npy", "--root nowhere: no such folder"),
    ("encode RUN digits --split test --out x.npy", "--split test: digits has no test split of its own"),
    ("encode RUN digits --batch-size 0 --out x.npy", "batch_size=0: must be at least 1"),
    ("encode RUN digits --device there --out x.npy", "device=there: cannot be used"),
    ("decode RUN wide.npy --out x", "wide.npy: has shape [3, 1, 9, 9], but this model takes [N, 8]"),
    ("decode RUN text.txt --out x", "text.txt: is not a .npy, .npz, .csv or .parquet file"),
    ("decode RUN bad.csv --out x", "bad.csv: line 2 cannot be read"),
    ("decode RUN there.npy --out full", "--out full: exists already"),
    ("sample RUN --out x.png", "sample: a model of kind undercomplete has no distribution"),
    ("interpolate RUN 1 2 --out x.png", "1: is a row number, but --input is missing. Write --input"),
    ("interpolate RUN 1 9999 --input digits --out x.png", "9999: row index out of range"),
    ("interpolate RUN 1 2 --input digits --steps 1 --out x.png", "--steps 1: must be at least 2"),
    ("score RUN digits --percentile 101 --out x.csv", "percentile=101: must be from 0 to 100"),
    ("runs nowhere", "nowhere: no such folder"),
    ("runs empty", "empty: holds no runs"),
    ("export RUN --out full", "--out full: exists already"),
    (f"encode RUN digits --out {'x' * 300}.npy", "cannot be written (File name too long)"),
    (f"encode RUN {'x' * 300} --out x.npy", "no such file or folder"),
    (f"encode {'x' * 300} digits --out x.npy", "no such file or folder"),
    ("sing", "argument verb: invalid choice: 'sing'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "beginning"), MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_all_as_it_was(
    verb: Verb, trained: Path, tmp_path: Path, words: str, beginning: str
) -> None:
    (tmp_path / "bad.npy").write_bytes(b"no array")
    (tmp_path / "bad.csv").write_text("z0,z1\nx,y\n")
    (tmp_path / "text.txt").write_text("text")
    np.save(tmp_path / "there.npy", np.zeros((2, 8), np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((3, 1, 9, 9), np.uint8))
    np.save(tmp_path / "floats.npy", np.full((3, 1, 8, 8), 0.5))
    np.savez(tmp_path / "two.npz", a=DIGITS, b=DIGITS)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").write_bytes(b"no image")
    before = sorted(tmp_path.rglob("*"))
    status, out, err = verb(*(trained if word == "RUN" else word for word in words.split()))
    assert (status, out) == (2, ""), err
    (line,) = err.splitlines()
    assert beginning in line
    assert sorted(tmp_path.rglob("*")) == before
