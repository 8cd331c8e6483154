"""Commands in the comments of the configuration files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aeframe.cli.command_line import parse
from aeframe.config.check import check
from aeframe.config.composition import CONF
from tests.support.idx_files import write_idx
from tests.support.pages import jobs

FILES = sorted(CONF.rglob("*.yaml"))


def comments(file: Path) -> list[str]:
    """List the lines of comment; a line that ends with a backslash goes on in the next."""
    found = re.findall(r"#(?: (.*))?$", file.read_text("utf-8"), re.MULTILINE)
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(found)).splitlines()


def train_commands(file: Path) -> list[tuple[str, ...]]:
    """List the overrides of each command that trains."""
    found = []
    for line in comments(file):
        if line.startswith("sbatch "):
            line = shlex.split(line)[-1]
        if (command := re.search(r"\bpython train\.py (.+)", line)) is not None:
            found.append(tuple(shlex.split(command[1])))
    return found


def verb_commands() -> list[tuple[str, ...]]:
    """List the words of each use of a trained network."""
    lines = [line for file in FILES for line in comments(file) if line.startswith("aeframe ")]
    return [tuple(shlex.split(c)[1:]) for line in lines for c in line.split(";")]


@pytest.fixture
def named_data(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files and folders that the commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "DAY").mkdir(parents=True)
    (tmp_path / "outputs" / "DAY" / "RUN").symlink_to(trained)
    for folder in ("photos/train", "photos/test"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (200, 200)).save(tmp_path / folder / "one.png")
    write_idx(tmp_path / "FOLDER" / "MNIST" / "raw")
    np.save(tmp_path / "spectra.npy", np.ones((4, 50)))
    (tmp_path / "acts").mkdir()
    np.save(tmp_path / "acts" / "0.npy", np.ones((4, 50)))
    rows = "".join(f"{i / 8},{i * i},{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "people.csv").write_text(f"age,height,species\n{rows}")
    steps = "".join(f"{i},{i % 7},{i % 5}\n" for i in range(200))
    (tmp_path / "sensors.csv").write_text(f"timestamp,temperature,pressure\n{steps}")


@pytest.mark.usefixtures("named_data")
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_command_to_try_is_a_configuration_without_mistakes(
    compose: Callable[..., Any], file: Path
) -> None:
    assert train_commands(file)
    for words in train_commands(file):
        for job in jobs(words):
            check(compose(*parse(job).overrides))


def test_schedulers_in_the_configuration_are_without_mistakes(compose: Callable[..., Any]) -> None:
    text = "\n".join(comments(CONF / "config.yaml"))
    examples = re.findall(r"scheduler='(\{.+?\})'$", text, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        check(compose(f"scheduler={' '.join(example.split())}"))


@pytest.mark.parametrize("words", verb_commands(), ids=shlex.join)
def test_a_verb_takes_such_arguments(
    verb: Callable[..., Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    status, _, err = verb(*words)
    # no argument is wrong but the run, which is not here
    assert status == 2
    assert err.startswith(f"aeframe: {words[1]}: ")
    assert list(tmp_path.iterdir()) == []
