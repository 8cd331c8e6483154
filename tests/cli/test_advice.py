"""Advice after a mistake: commands that work as they are."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.runs import TINY, contents

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("id,a,b,class\nx1,1.5,2,cat\nx2,3,4,dog\n", [[1.5, 2], [3, 4]]),
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a;b\n1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("a\tname\tb\n1\tx\t2\n3\ty\t4\n", [[1, 2], [3, 4]]),
    ],
)
def test_a_table_is_converted_by_the_command_that_the_error_names(
    aeframe: Command,
    verb: Command,
    trained: Path,
    tmp_path: Path,
    table: str,
    rows: list[list[float]],
) -> None:
    (tmp_path / "t.csv").write_text(table)
    status, _, err = aeframe("dataset=array", "dataset.path=t.csv")
    assert (status, err) == (
        2,
        "aeframe: dataset.path=t.csv: is neither .npy nor .npz. Write dataset=table dataset.path=t.csv.\n",
    )
    status, _, err = verb("encode", trained, "t.csv", "--out", "z.npy")
    assert status == 2
    told, _, word = err.partition(" Run ")[2].rpartition(" and write ")
    assert word == "t.npy instead.\n"
    command = shlex.split(told)
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "t.npy").tolist() == rows
    status, _, err = verb("encode", trained, "t.csv", "--out", "z.npy")
    assert err.endswith("and write t_table.npy instead.\n")  # no file is replaced
    (tmp_path / "t.npy").unlink()
    status, _, err = verb("encode", trained, "t.csv", "--out", "z.npy")
    assert (status, err) == (
        2,
        f"aeframe: t.csv: is a text table, not an array. Run {told} and write t.npy instead.\n",
    )


@pytest.mark.parametrize(
    "word", ["dataset.path=t.csv", "dataset=t.csv", "dataset.path='[s.csv,t.csv]'", "dataset=csv"]
)
def test_a_table_is_answered_with_the_option_that_reads_it(aeframe: Command, word: str) -> None:
    status, out, err = aeframe(word)
    assert (status, out) == (2, "")
    assert "dataset=table" in err
    assert "dataset=array" not in err


def test_a_folder_of_runs_names_its_newest_run(aeframe: Command, finished: Path) -> None:
    above = finished.parent / "many" / "day"
    above.mkdir(parents=True)
    for age, name in enumerate(("new", "old")):
        last = above / name / "checkpoints" / "last.ckpt"
        last.parent.mkdir(parents=True)
        last.write_bytes(b"")
        os.utime(last, (1e9 - age, 1e9 - age))
    status, _, err = aeframe("resume=many")
    assert (status, err) == (
        2,
        "aeframe: resume=many: holds 2 runs, but is not a run. For the newest write: python train.py "
        "resume=many/day/new\n",
    )


@pytest.mark.parametrize(
    "words", [("hydra.run.dir=photos",), ("-m", "seed=0,1", "hydra.sweep.dir=photos")]
)
def test_a_folder_of_photographs_is_no_folder_for_a_run(
    aeframe: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    before = contents(tmp_path)
    status, _, err = aeframe(*words, *TINY)
    assert (status, err) == (
        2,
        f"aeframe: {words[-1]}: holds files that are not a run's, such as a.jpg. "
        "Write a new or an empty folder.\n",
    )
    assert contents(tmp_path) == before


def test_a_folder_with_notes_is_a_folder_for_a_run(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "job.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run" / "slurm-7.out").write_text("")
    assert aeframe("hydra.run.dir=run", *TINY)[0] == 0
    assert (tmp_path / "run" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.beta=4", "It belongs to model=variational: write model=variational as well."),
        (
            "dataset.path=x.npy",
            "It belongs to dataset=array, series, shards, table: write dataset=array as well.",
        ),
    ],
)
def test_a_key_of_another_option_names_that_option(aeframe: Command, word: str, told: str) -> None:
    status, _, err = aeframe(word)
    assert status == 2
    assert err.startswith(f"aeframe: {word.partition('=')[0]}: unknown key. Known: ")
    assert err.endswith(f"{told}\n")


def test_keys_of_a_table_name_the_table_alone(aeframe: Command) -> None:
    both = aeframe("dataset.path=people.csv", "dataset.label=kind")[2]
    assert both.count("It belongs to dataset=table: write dataset=table as well.") == 2
    near = aeframe("dataset=table", "dataset.path=people.csv", "dataset.labels=kind")[2]
    told = "dataset.labels: unknown key. Did you mean label? (It belongs to dataset=array, shards.)"
    assert near == f"aeframe: {told}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.run.dir=s3://a/b",),
        ("-m", "seed=0,1", "hydra.sweep.dir=s3://a/b"),
        ("dataset=array", "dataset.path=hf://x/y.npy"),
        ("dataset=image_folder", "dataset.root=https://x.org/y"),
    ],
)
def test_an_address_is_refused_and_makes_no_folder(
    aeframe: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    status, _, err = aeframe(*words)
    assert (status, err) == (
        2,
        f"aeframe: {words[-1]}: is an address, and aeframe reads and writes local files only. "
        "Copy the files to a local folder, and name that folder.\n",
    )
    assert contents(tmp_path) == {}
