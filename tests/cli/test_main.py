"""The command `aeframe`: its verbs, help and version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe import __version__
from aeframe.cli.main import main
from aeframe.cli.verbs import VERBS
from tests.support.runs import ROOT, run_folder

Command = Callable[..., tuple[int, str, str]]


def test_every_verb_has_help_with_an_example(verb: Command) -> None:
    out = verb("--help")[1]
    for name, known in VERBS.items():
        assert f"\n  {name} " in out
        status, told, err = verb(name, "--help")
        assert (status, err) == (0, "")
        assert f"example:\n  aeframe {name} " in told
        assert known.example in told
    assert verb()[1] == out


def test_the_command_answers_without_anything_heavy() -> None:
    code = """
import sys
from aeframe.cli.main import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit:
    print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"torch", "numpy", "PIL", "hydra", "omegaconf", "rich", "safetensors"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """`aeframe ARGV` in this process and in tmp_path: (exit status, stdout, stderr)."""

    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["aeframe", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_aeframe_train_does_what_train_py_does(command: Command, tmp_path: Path) -> None:
    status, out, err = command("train", "debug=fast", "model.latent_dim=6")
    assert (status, err) == (0, "")
    assert "-> 6 units" in out.splitlines()[0]
    assert (run_folder(tmp_path) / "evaluation.json").is_file()


def test_aeframe_alone_shows_how_to_use_it(command: Command) -> None:
    status, out, err = command()
    assert (status, err) == (0, "")
    assert "aeframe train" in out
    assert command("--help") == (0, out, "")


def test_the_version_is_the_packages(command: Command) -> None:
    assert command("--version") == (0, f"aeframe {__version__}\n", "")


def test_an_unknown_verb_is_the_users_mistake(command: Command) -> None:
    status, out, err = command("trian")
    assert (status, out) == (2, "")
    assert "trian" in err
    assert "Traceback" not in err
