"""Output of a verb: it overwrites no input, and is complete or absent."""

from __future__ import annotations

import os
import shutil
import signal
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aeframe as package
from aeframe.cli.verbs import VERBS
from aeframe.cli.verbs.outputs import READ, check_output_path
from aeframe.core.errors import UserError
from tests.support.digits import DIGITS
from tests.support.runs import (
    contents,
)
from tests.support.verbs import Verb, encoded, good


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("encode RUN x.npy --out x.npy", "x.npy"),
        ("encode RUN x.npy --out link.npy", "x.npy"),
        ("encode RUN y.npy x.npy --out ./x.npy", "x.npy"),
        ("decode RUN codes.npy --out codes.npy", "codes.npy"),
        ("reconstruct RUN images --out images", "images"),
        ("reconstruct RUN test --out test", "test"),  # as a split is called,
        ("reconstruct RUN 1 --out 1", "1"),  # or a row
        ("reconstruct RUN digits images --out digits", "digits"),  # beside others it is a folder
        ("export digits --out digits", "digits"),
        ("reconstruct RUN images/0.png images/1.png --out images/", "images/0.png"),
        ("interpolate RUN x.npy images/0.png --out images", "images/0.png"),
        ("interpolate RUN 1 2 --input x.npy --out x.npy", "x.npy"),
        ("export copy --out copy", "copy"),
        ("export copy/model.safetensors --out copy", "copy/model.safetensors"),
    ],
)
def test_inputs_are_not_overwritten(
    verb: Verb, trained: Path, tmp_path: Path, words: str, read: str
) -> None:
    for name in ("x.npy", "y.npy"):
        np.save(tmp_path / name, DIGITS[:2])
    np.save(tmp_path / "codes.npy", np.zeros((2, 8), np.float32))
    (tmp_path / "link.npy").symlink_to("x.npy")
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.fromarray(DIGITS[number, 0]).save(tmp_path / "images" / f"{number}.png")
    for name in ("test", "1"):
        shutil.copytree(tmp_path / "images", tmp_path / name)
    for name in ("copy", "digits"):
        shutil.copytree(trained, tmp_path / name)
    before = contents(tmp_path)
    status, out, err = verb(
        *(trained if word == "RUN" else word for word in words.split()), "--force"
    )
    place = words.rpartition(" ")[2]
    what = f"--out {place}: would overwrite the input {read}. Write another name."
    assert (status, out, err) == (2, "", f"aeframe: {what}\n")
    assert contents(tmp_path) == before


def test_every_argument_that_names_a_file_is_known_for_one() -> None:
    """The arguments are those of the commands that write files."""
    read = set()
    for each in VERBS.values():
        each.arguments(parser := ArgumentParser())
        actions = {action.dest: action for action in parser._actions}
        if "out" in actions:
            read |= {name for name, action in actions.items() if not action.option_strings}
            read |= {"input", "data"} & actions.keys()
    assert read == set(READ)


def test_results_may_lie_beside_what_is_read(verb: Verb, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(DIGITS[0, 0]).save(tmp_path / "images" / "0.png")
    for _ in range(2):
        good(verb("encode", trained, "images", "--out", "images/codes.npy", "--force"))
        good(verb("reconstruct", trained, "images", "--out", "images/restored", "--force"))
        shutil.rmtree(tmp_path / "images" / "restored")
        good(verb("reconstruct", trained, "digits", "--out", "digits", "--force"))
        good(verb("interpolate", trained, "1", "2", "--input", "digits", "--out", "1", "--force"))


def test_a_working_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current folder no longer exists"):
        check_output_path(Namespace(out="x.npy"), (".npy",))
    there = Namespace(out=f"{tmp_path}/x.npy")
    assert check_output_path(there, (".npy",)) == tmp_path / "x.npy"


def test_old_results_stay_until_new_ones_are_complete(
    verb: Verb, trained: Path, tmp_path: Path
) -> None:
    data = DIGITS.copy()
    data[900] = 200  # in a later batch
    np.save(tmp_path / "bad.npy", data)
    codes = encoded(verb, trained)
    before = (tmp_path / codes).read_bytes()
    status, _, err = verb("encode", trained, "bad.npy", "--out", codes, "--force")
    assert status == 2
    assert "bad.npy: must lie between 0 and 16, but goes from 0 to 200" in err
    assert (tmp_path / codes).read_bytes() == before
    assert {f.name for f in tmp_path.iterdir()} == {"bad.npy", codes}
    np.save(tmp_path / "good.npy", DIGITS[:5])
    good(verb("encode", trained, "good.npy", "--out", codes, "--force"))
    assert np.load(tmp_path / codes).shape == (5, 8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(
    verb: Verb, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    codes, seen = package.Model._encode, list[Any]()

    def interrupted(self: package.Model, x: Any) -> Any:
        seen.append(x)
        if len(seen) == 3:
            assert len(list(tmp_path.iterdir())) == 1  # under another name
            os.kill(os.getpid(), number)
        return codes(self, x)

    monkeypatch.setattr(package.Model, "_encode", interrupted)
    status, out, err = verb("encode", trained, "digits", "--out", "codes.npy")
    assert (status, out) == (128 + number, "")
    assert ("stopped by SIGTERM" if number == 15 else "interrupted") in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_added_to_by_force(verb: Verb, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    np.save(tmp_path / "codes.npy", np.zeros((3, 8), np.float32))
    assert verb("decode", trained, "codes.npy", "--out", "out")[0] == 2
    good(verb("decode", trained, "codes.npy", "--out", "out", "--force"))
    names = {f.name for f in (tmp_path / "out").iterdir()}
    assert names == {"mine.txt", "0.png", "1.png", "2.png"}
