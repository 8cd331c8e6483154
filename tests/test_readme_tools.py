"""Commands of the READMEs that are no use of aeframe itself: tests, measurements and other tools."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path
from runpy import run_module
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from tests.support.pages import COMMANDS, PAGES, ROOT, Command, overrides

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
Words = tuple[str, ...]


def kind(command: Command) -> str:
    """Say what a command starts."""
    first, *rest = command.words
    if overrides(command) is not None:
        return "train"
    if (first, *rest[:1]) == ("python", "-m"):
        return "our tool" if rest[1].startswith("tests.") else rest[1]
    return first


KINDS: dict[str, list[Words]] = {}
for each in COMMANDS:
    KINDS.setdefault(kind(each), []).append(each.words)


def of(name: str) -> list[Words]:
    return list(dict.fromkeys(KINDS[name]))


def test_every_command_is_run_by_a_test() -> None:
    in_test_readme = {"train", "aeframe", "cd"}
    here = {"pip", "pytest", "our tool", "tensorboard", "eval", "ruff", "mypy"}
    assert set(KINDS) == in_test_readme | here | {"pre-commit", ".ci/run"}


@pytest.mark.parametrize("words", of("pip"), ids=shlex.join)
def test_the_package_has_the_extras_that_are_installed(words: Words) -> None:
    assert words[3] == "install"
    assert words[4:-1] in ((), ("-e",))
    found = re.fullmatch(r"\.(?:\[(.+)\])?", words[-1])
    assert found is not None
    extras = PROJECT["project"]["optional-dependencies"]
    assert set((found[1] or "dev").split(",")) <= set(extras)


class ParsedError(Exception):
    """An end of a tool that has read its arguments."""


@pytest.mark.parametrize("words", of("our tool"), ids=shlex.join)
def test_our_tools_take_such_arguments(words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(*given: Any, **named: Any) -> None:
        parse(*given, **named)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    monkeypatch.setattr(sys, "argv", ["tool", *takewhile(lambda word: word != ">", words[3:])])
    module = importlib.import_module(words[2])
    is_package = hasattr(module, "__path__")
    main = partial(run_module, words[2], run_name="__main__") if is_package else module.main
    with pytest.raises(ParsedError), patch.dict(os.environ):  # as the benchmarks set some
        main()


@pytest.mark.parametrize("words", of("pytest"), ids=shlex.join)
def test_pytest_takes_such_arguments(words: Words, tmp_path: Path) -> None:
    # in a project of our settings with one test
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "tests").mkdir()
    for file in (w for w in words if w.startswith("tests/")):
        assert (ROOT / file).is_file()
    (tmp_path / "tests" / "test_readme.py").write_text("def test_one():\n    pass\n")
    command = [sys.executable, *words[1:3], "-p", "xdist", *words[3:], "-n", "0"]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == (pytest.ExitCode.NO_TESTS_COLLECTED if "-m" in words[3:] else 0)
    assert "1 passed" in done.stdout or "1 deselected" in done.stdout


@pytest.mark.parametrize("words", [*of("ruff"), *of("mypy")], ids=shlex.join)
def test_a_linter_takes_such_arguments(words: Words) -> None:
    command = [sys.executable, "-m", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_checks_before_a_commit_are_those_of_the_page() -> None:
    (hooks,) = (repo["hooks"] for repo in yaml.safe_load(_read(".pre-commit-config.yaml"))["repos"])
    checked = [shlex.join(words) for words in (*of("ruff"), *of("mypy"))]
    assert [hook["entry"].replace("--force-exclude", ".") for hook in hooks] == checked
    assert of("pre-commit") == [("pre-commit", "install")]


def test_the_script_of_ci_is_one() -> None:
    assert of(".ci/run") == [(".ci/run",)]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)


@pytest.mark.parametrize("words", of("tensorboard"), ids=shlex.join)
def test_tensorboard_takes_such_arguments(words: Words) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        from tensorboard import program

        board = program.TensorBoard()
    board.configure(list(words))
    assert board.flags is not None
    assert board.flags.logdir == "outputs"


@pytest.mark.parametrize("words", of("eval"), ids=shlex.join)
def test_the_shell_completes(words: Words, verb: Callable[..., Any]) -> None:
    command = re.fullmatch(r"\$\(aeframe (.+)\)", words[1])
    assert command is not None
    status, out, err = verb(*shlex.split(command[1]))
    assert (status, err) == (0, "")
    subprocess.run(["bash", "-n"], input=out, text=True, check=True)


def test_verbs_in_a_sentence_are_verbs(verb: Callable[..., Any]) -> None:
    said = {
        name for page in PAGES.values() for name in re.findall(r"`aeframe ([a-z]+)[^`]*`", page)
    }
    assert {"codec", "reconstruct", "train"} <= said
    shown = verb("--help")[1]
    for name in said:
        assert re.search(rf"^  {name} ", shown, re.MULTILINE), name


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")
