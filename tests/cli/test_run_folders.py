"""Folders that hold a run, or cannot hold one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aeframe.runs.folder_guide import GUIDE
from tests.support.runs import TINY, contents

Command = Callable[..., tuple[int, str, str]]


def test_a_folder_that_holds_a_run_is_left_as_it_is(
    aeframe: Callable[..., Any], tmp_path: Path
) -> None:
    assert aeframe(*TINY, "hydra.run.dir=run")[0] == 0
    before = {f: f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()}
    status, out, err = aeframe(*TINY, "seed=1", "hydra.run.dir=run")
    assert (status, out) == (2, "")
    assert err == (
        "aeframe: hydra.run.dir=run: holds a run already. "
        "Choose another folder, delete it, or continue that run: python train.py resume=run\n"
    )
    assert before == {f: f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()}


@pytest.mark.parametrize("resume", ["null", "auto"])
@pytest.mark.parametrize("name", ["model.safetensors", "evaluation.json", "diverged.json"])
def test_a_run_overwrites_nothing(aeframe: Command, tmp_path: Path, name: str, resume: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("exported")
    status, out, err = aeframe(*TINY, "hydra.run.dir=mine", f"resume={resume}")
    assert (status, out) == (2, "")
    what = f"holds {name} already, which a run would overwrite. Write another folder."
    assert err == f"aeframe: hydra.run.dir=mine: {what}\n"
    (file,) = (tmp_path / "mine").iterdir()
    assert file.read_text() == "exported"


def test_a_folder_with_other_files_may_be_used(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / ".hydra").mkdir(parents=True)  # as after a mistake in the data
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "mine" / GUIDE).write_text("my own")
    assert aeframe(*TINY, "hydra.run.dir=mine")[0] == 0
    assert (tmp_path / "mine" / GUIDE).read_text() == "my own"
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


@pytest.mark.parametrize("how", [("-m",), ("-m", "resume=auto"), ("hydra.mode=MULTIRUN",)])
def test_a_sweep_does_not_move_in_with_a_run(
    aeframe: Command, finished: Path, how: tuple[str, ...]
) -> None:
    before = contents(finished)
    status, out, err = aeframe(*TINY, *how, "hydra.sweep.dir=run")
    assert (status, out) == (2, "")
    what = "holds a run, but a sweep needs its own folder. Write another folder."
    assert err == f"aeframe: hydra.sweep.dir=run: {what}\n"
    assert contents(finished) == before


def test_the_second_of_two_runs_in_one_folder_is_refused(
    aeframe: Callable[..., Any], tmp_path: Path
) -> None:
    status, _, err = aeframe(*TINY, "-m", "seed=0,1", "hydra.sweep.subdir=same")
    assert status == 1
    assert "same: holds a run already" in err
    (card,) = tmp_path.rglob("evaluation.json")
    assert not card.with_name("failed.txt").exists()  # the first is none the worse for it


@pytest.mark.parametrize(
    "words", [("resume=locked/x",), ("resume=locked",), ("--config-dir", "locked/x")]
)
def test_a_folder_that_may_not_be_looked_into_is_one_line(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    seen = os.stat

    def refuses(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if "locked/" in str(path):  # as root may look everywhere
            raise PermissionError(13, "Permission denied", str(path))
        return seen(path, *rest, **more)

    monkeypatch.setattr(os, "stat", refuses)
    status, out, err = aeframe(*words)
    assert (status, out) == (2, "")
    what = "cannot be read (Permission denied). Check the permissions of the file, and its disk."
    assert err == f"aeframe: {' '.join(words)}: {what}\n"


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("hydra.run.dir=", "hydra.run.dir: is empty. Write hydra.run.dir=FOLDER."),
        ("hydra.run.dir=file/x", "Not a directory. Write hydra.run.dir=FOLDER"),
        ("hydra.run.dir=file", "file: File exists. Write hydra.run.dir=FOLDER"),
        (f"hydra.run.dir={'x' * 300}", "File name too long. Write hydra.run.dir=FOLDER"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(
    aeframe: Callable[..., Any], tmp_path: Path, word: str, what: str
) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = aeframe(*TINY, word)
    assert status == 2
    assert what in err
    assert "Traceback" not in err
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_a_run_at_work_is_not_marked_as_failed(aeframe: Callable[..., Any], tmp_path: Path) -> None:
    at_work = tmp_path / "sweep" / "same" / "checkpoints"
    at_work.mkdir(parents=True)
    where = ("hydra.sweep.dir=sweep", "hydra.sweep.subdir=same")
    status, _, err = aeframe(*TINY, "-m", "seed=0", *where)
    assert status == 2
    assert "holds a run already" in err
    assert not (tmp_path / "sweep" / "same" / "failed.txt").exists()
