"""Pipes, devices and folders with the name of a run's file: looked at, never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import aeframe as package
from aeframe.codec.codec_file import CODEC
from aeframe.core.errors import UserError
from aeframe.core.regular_files import IrregularError, open_regular, read_text
from aeframe.runs.checkpoint import read_checkpoint, read_tried_steps
from aeframe.runs.layout import MODEL
from aeframe.runs.origin import find_start_folder

Verb = Callable[..., tuple[int, str, str]]
KINDS = ("pipe", "zero", "socket", "folder")


def put(file: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = Path.cwd()
            os.chdir(file.parent)  # such a name is short
            bound.bind(file.name)
            os.chdir(here)
    else:
        file.mkdir()


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "x", kind)
    for read in (open_regular, lambda file: read_text(file, 10)):
        with pytest.raises(IrregularError, match="not a regular file"):
            read(tmp_path / "x")


def test_a_link_to_a_file_is_one_and_no_text_is_read_without_end(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("0123456789")
    (tmp_path / "link").symlink_to("x")
    assert read_text(tmp_path / "link", 10) == "0123456789"
    with pytest.raises(ValueError, match="more than 9 bytes"):
        read_text(tmp_path / "x", 9)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "y")


@pytest.mark.parametrize("kind", KINDS)
def test_files_beside_a_run_are_checked_first(finished: Path, kind: str) -> None:
    for name in (".hydra/hydra.yaml", "diverged.json", "evaluation.json"):
        put(finished / name, kind)
    assert find_start_folder(finished) is None
    assert read_tried_steps(finished) == ()
    saved = read_checkpoint(finished)
    assert saved is not None
    assert saved.value is None
    for name in (MODEL, "checkpoints/last.ckpt"):
        put(finished / name, kind)
        with pytest.raises(
            UserError,
            match=r"model of aeframe|model nor a checkpoint|is not a checkpoint",
        ):
            package.load(finished / name)
    with pytest.raises(UserError, match="is not a checkpoint"):
        read_checkpoint(finished)


@pytest.mark.parametrize("kind", ["pipe", "zero"])
def test_no_verb_waits_for_a_codec_or_an_input(
    verb: Verb, finished: Path, tmp_path: Path, kind: str
) -> None:
    for name in (f"run/{CODEC}", "x.npy", "x.npz", "x.png", "x.parquet", "x.aez"):
        put(tmp_path / name, kind)
    for argv in (
        ("compress", "run", "digits", "--out", "y.aez"),
        ("decompress", "run", "x.aez", "--out", "y.npy"),
        ("export", "run", "--out", "exported"),
        *(("encode", "run", name, "--out", "y.npy") for name in ("x.npy", "x.npz", "x.png")),
        *(("decode", "run", name, "--out", "y.npy") for name in ("x.npy", "x.parquet")),
    ):
        status, out, err = verb(*argv)
        assert (status, out) == (2, ""), (argv, err)
        assert len(err.splitlines()) == 1, (argv, err)
