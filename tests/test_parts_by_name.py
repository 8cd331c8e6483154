"""Rooms ask parts what they need and give: outside its own room no part is known by its name."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from aeframe.config.composition import CONF
from aeframe.config.suggested_options import CONSTRAINTS, NETWORKS
from aeframe.core.part import Part, Word
from tests.support.runs import ROOT

PACKAGE = ROOT / "aeframe"
HOMES = ("constraints", "models", "networks")
"""Rooms of parts."""
GROUPS = ("model", "network", "likelihood", "constraint")
EXEMPT = {PACKAGE / "config" / "suggested_options.py", PACKAGE / "core" / "part.py"}
"""The one file that suggests options, and declarations of earlier versions."""
SHARED = {"auto", "linear", "rate"}
"""Names of options that are also words of other things: a choice by the data, a schedule, a column of the
progress bar."""


def part_classes() -> dict[str, type]:
    """Map each option of the groups of parts, `group/name`, to its class."""
    found = {}
    for group in GROUPS:
        for file in (CONF / group).glob("*.yaml"):
            target = next(_values(yaml.safe_load(file.read_text()), "_target_"))
            module, _, name = target.rpartition(".")
            found[f"{group}/{file.stem}"] = getattr(importlib.import_module(module), name)
    return found


def _values(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node[key]] if key in node else ())
        for value in node.values():
            yield from _values(value, key)


PARTS = part_classes()
CONCRETE = {id(cls) for cls in PARTS.values()}
MODULES = {cls.__module__ for cls in PARTS.values()}
BASES = {base for cls in PARTS.values() for base in cls.__mro__[1:]}
"""Classes and functions beside the parts in their modules are theirs, but for their bases."""


def is_concrete(value: object) -> bool:
    """Check for a part, or a class of its own file that is no base of parts."""
    if id(value) in CONCRETE:
        return True
    is_own = inspect.isclass(value) and value.__module__ in MODULES
    return is_own and value not in BASES


def imported(tree: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield what a file imports from the rooms of parts, attributes of imported modules included."""
    modules: dict[str, ModuleType] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aeframe"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                try:
                    value = getattr(module, alias.name)
                except AttributeError:
                    value = importlib.import_module(f"{node.module}.{alias.name}")
                if isinstance(value, ModuleType):
                    modules[alias.asname or alias.name] = value
                yield alias.name, value
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)  # type: ignore[assignment]
            if module is not None:
                yield node.attr, getattr(module, node.attr, None)


def outside(*rooms: str) -> list[Path]:
    return [
        file
        for room in sorted(PACKAGE.iterdir())
        if room.is_dir() and room.name not in rooms
        for file in sorted(room.rglob("*.py"))
    ]


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield texts that are a name alone: docstrings and sentences are not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_other_room_imports_a_part() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in outside(*HOMES)
        for name, value in imported(ast.parse(file.read_text("utf-8")))
        if is_concrete(value)
    ]
    assert found == []


@pytest.mark.parametrize("home", HOMES)
def test_no_room_of_parts_imports_parts_of_another(home: str) -> None:
    for file in (PACKAGE / home).glob("*.py"):
        for name, value in imported(ast.parse(file.read_text("utf-8"))):
            if is_concrete(value):
                assert f"aeframe.{home}." in str(getattr(value, "__module__", "")), (file, name)


def test_no_room_knows_the_name_of_an_option() -> None:
    names = {option.partition("/")[2] for option in PARTS} - SHARED
    found = [
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in outside(*HOMES)
        if file not in EXEMPT
        for name in names_in(ast.parse(file.read_text("utf-8")))
        if name in names
    ]
    assert found == []


def test_the_search_finds_what_it_looks_for() -> None:
    seen = ast.parse(
        "from aeframe import models\n"
        "from aeframe.networks.mlp import TiedLinear\n"
        "from aeframe.constraints import Constraint, TopK\n"
        "x = models.Variational, models.Autoencoder, 'topk'\n"
    )
    found = [name for name, value in imported(seen) if is_concrete(value)]
    assert found == ["TiedLinear", "TopK", "Variational"]
    assert "topk" in list(names_in(seen))


@pytest.mark.parametrize("word", CONSTRAINTS)
def test_suggested_constraints_give_the_word(word: Word) -> None:
    for name in CONSTRAINTS[word]:
        assert word in PARTS[f"constraint/{name}"].gives, name  # type: ignore[attr-defined]


def test_suggested_networks_give_the_word() -> None:
    for word, name in NETWORKS.items():
        options = yaml.safe_load((CONF / "network" / f"{name}.yaml").read_text())
        del options["_target_"]
        assert word in PARTS[f"network/{name}"](**options).layout


def test_every_part_declares_words() -> None:
    assert all(issubclass(cls, Part) for cls in PARTS.values())
    constraints = [cls for option, cls in PARTS.items() if option.startswith("constraint/")]
    assert all(cls.gives for cls in constraints)  # type: ignore[attr-defined]
