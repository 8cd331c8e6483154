"""The verb new: files that work at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from aeframe.cli.verbs.new_files import GROUPS, KINDS
from tests.support.runs import ROOT, contents

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def package(verb: Command, tmp_path: Path) -> Path:
    """A new package."""
    status, out, err = verb("new", "plugin", "my_package")
    assert (status, err) == (0, "")
    assert out.endswith("Next: cd my_package && aeframe new constraint halving\n")
    return tmp_path / "my_package"


@pytest.fixture
def inside(package: Path, monkeypatch: pytest.MonkeyPatch, verb: Command) -> Command:
    """Run the command in the folder of the new package."""
    monkeypatch.setattr(Path, "cwd", classmethod(lambda cls: package))
    return verb


def test_a_package_declares_itself(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())
    entry_points = project["project"]["entry-points"]
    assert entry_points == {"aeframe.plugins": {"my_package": "my_package"}}
    assert (package / "my_package" / "__init__.py").is_file()


def test_each_kind_passes_its_test_at_once(inside: Command, package: Path) -> None:
    for kind in GROUPS:
        status, out, err = inside("new", kind, f"own_{kind}")
        assert (status, err) == (0, "")
        file = package / "my_package" / "conf" / GROUPS[kind] / f"own_{kind}.yaml"
        node = yaml.safe_load(file.read_text())
        node = node["model"] if kind == "model" else node
        assert node["_target_"] == f"my_package.own_{kind}.Own{kind.capitalize()}"
        assert f"{GROUPS[kind]}=own_{kind}\n" in out
    for kind in KINDS.keys() - GROUPS.keys():
        status, out, err = inside("new", kind, f"own_{kind}")
        assert (status, err) == (0, "")
        assert f"_target_{{}}my_package.own_{kind}.Own{kind.capitalize()}" in re.sub(
            "=|: ", "{}", out
        )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "24 passed" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["constraint", "l1"], "aeframe new constraint l1: constraint=l1 exists already."),
        (["constraint", "Halving"], "aeframe new constraint Halving: is not the name of a Python module."),
        (["constraint", "../x"], "aeframe new constraint ../x: is not the name of a Python module."),
        (["network", "class"], "aeframe new network class: is not the name of a Python module."),
        (["thing", "x"], "invalid choice: 'thing'"),
    ],
)  # fmt: skip
def test_wrong_names_write_nothing(
    inside: Command, package: Path, words: list[str], message: str
) -> None:
    before = contents(package)
    status, _, err = inside("new", *words)
    assert status == 2
    assert message in err
    assert contents(package) == before


def test_nothing_is_overwritten(inside: Command, package: Path) -> None:
    (package / "my_package" / "halving.py").write_text("mine = 1\n")
    before = contents(package)
    status, _, err = inside("new", "constraint", "halving")
    assert status == 2
    assert "halving.py exists already. Choose another name." in err
    assert contents(package) == before


def test_a_part_needs_a_package(verb: Command, tmp_path: Path) -> None:
    status, _, err = verb("new", "constraint", "halving")
    assert status == 2
    assert "no package with the entry point aeframe.plugins is here. Make one: aeframe new" in err
    assert list(tmp_path.iterdir()) == []
