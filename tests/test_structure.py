"""The structure of the package: rooms, files, and tests that mirror them."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path

from tests.support.runs import ROOT

PACKAGE, TESTS = ROOT / "aeframe", ROOT / "tests"
ROOMS = {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 310
"""A file up to about 300 lines."""


def imports(file: Path) -> set[str]:
    """List the modules that a file imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_each_room_has_its_place_in_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    named = [name.strip() for layer in layers for name in layer.split("|")]
    assert sorted(named) == sorted(
        f"aeframe.{name}" for name in {*ROOMS, "estimators", "interface"}
    )
    assert "lint-imports" in (ROOT / ".ci" / "run").read_text()


def test_nothing_lies_loose_beside_the_rooms() -> None:
    loose = {file.name for file in PACKAGE.iterdir() if file.is_file()}
    python = {"__init__.py", "__main__.py", "estimators.py", "interface.py"}
    assert loose == {*python, "py.typed", "README.md"}


def test_a_file_is_found_by_its_name() -> None:
    names = Counter(file.stem for file in FILES if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []
    assert not {"utils", "helpers", "common", "misc"} & names.keys()


def test_no_file_is_long() -> None:
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_rooms_that_answer_at_once_have_an_empty_init() -> None:
    for room in ("cli", "training", "runs", "config", "core", "monitoring"):
        assert (PACKAGE / room / "__init__.py").read_text() == "", room


def test_tests_mirror_the_rooms() -> None:
    folders = {file.parent.name for file in TESTS.glob("*/__init__.py")}
    assert folders == ROOMS | {"support", "stress", "benchmarks"}
    for room in ROOMS:
        assert list((TESTS / room).glob("test_*.py")), room


def test_no_test_file_imports_another() -> None:
    for file in TESTS.rglob("*.py"):
        others = {name for name in imports(file) if name.startswith("tests.")}
        assert not [name for name in others if ".test_" in name], file.name
