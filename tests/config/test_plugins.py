"""Plug-ins: which packages are plug-ins, and what a configuration may name in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeframe.config.added_parts import BASES
from aeframe.config.check import check
from aeframe.config.composition import choose_options, compose_options, find_options
from aeframe.config.datasets import list_dataset_names
from aeframe.config.plugins import (
    find_plugin,
    list_plugins,
    name_owner_of,
    take_flags,
    use_plugins,
)
from aeframe.config.targets import find_class, resolve
from aeframe.constraints import Constraint
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.process import get_command

PARTS = """
from aeframe.constraints import Constraint

class Halving(Constraint):
    gives = {"sparsity"}

    def constrain(self, code, clock):
        return code

class Other:
    pass
"""
NAME = "small_parts"


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """The folder of a package with one constraint and a file of options."""
    folder = tmp_path / NAME
    for group in ("constraint", "dataset"):
        (folder / "conf" / group).mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "parts.py").write_text(PARTS)
    (folder / "broken.py").write_text("import math\n\nmath.nothing\n")
    (folder / "lacking.py").write_text("import a_package_that_nobody_has\n")
    (folder / "__main__.py").write_text("raise SystemExit('it ran')\n")
    option = f"# @package constraint.small\n# A part.\n_target_: {NAME}.parts.Halving\n"
    (folder / "conf" / "constraint" / "small.yaml").write_text(option)
    (folder / "conf" / "constraint" / "l1.yaml").write_text("# Another l1.\nweight: 7\n")
    (folder / "conf" / "dataset" / "ours.yaml").write_text("_target_: small_parts.parts.Other\n")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def declare(folder: Path, text: str = f"[aeframe.plugins]\nsmall = {NAME}\n") -> None:
    """Write what pip writes for a package that declares the entry point."""
    (folder / f"{NAME}-1.0.dist-info").mkdir()
    (folder / f"{NAME}-1.0.dist-info" / "entry_points.txt").write_text(text)


def test_a_named_package_is_a_plugin_within_the_context(package: Path) -> None:
    before = list(sys.path)
    with use_plugins([str(package)]):
        assert [plugin.package for plugin in list_plugins()] == [NAME]
        cls = resolve(f"{NAME}.parts.Halving")
        assert issubclass(cls, Constraint)
        assert cls.__module__ == f"{NAME}.parts"
        assert get_command().endswith(f" --plugin {package}")
    assert sys.path == before
    assert list_plugins() == []
    with pytest.raises(ValueError, match="only classes of"):
        resolve(f"{NAME}.parts.Halving")


def test_a_project_folder_stands_for_the_package_in_it(package: Path, tmp_path: Path) -> None:
    project = tmp_path / "projects" / NAME
    project.mkdir(parents=True)
    package.rename(project / NAME)
    with use_plugins([str(project)]):
        assert list_plugins()[0].folder == project / NAME


def test_naming_a_plugin_twice_is_naming_it_once(package: Path) -> None:
    with use_plugins([str(package)]), use_plugins([str(package), str(package)]):
        assert len(list_plugins()) == 1
        assert get_command().count("--plugin") == 1


def test_a_declared_package_is_a_plugin(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [plugin.package for plugin in list_plugins()] == [NAME]
    assert NAME not in sys.modules  # finding it imports nothing
    assert resolve(f"{NAME}.parts.Halving").__name__ == "Halving"
    assert "--plugin" not in get_command()


@pytest.mark.parametrize(
    "text",
    [
        "[console_scripts]\nsmall = small_parts:main\n",
        "[aeframe.plugins]\nsmall = a_package_that_nobody_has\n",
        "[aeframe.plugins]\nsmall = ../small_parts\n",
    ],
    ids=["undeclared", "absent", "path"],
)
def test_other_installed_packages_are_none(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    declare(tmp_path, text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list_plugins() == []


def test_the_current_folder_declares_none(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(tmp_path)
    monkeypatch.chdir(tmp_path)
    for here in ("", str(tmp_path)):  # as python and python -m have it
        monkeypatch.setattr(sys, "path", [here, *sys.path])
        assert list_plugins() == []


@pytest.mark.parametrize("name", ["nothing_here", "json.tool", "", "os", "no-name", "__main__"])
def test_what_is_no_package_cannot_be_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-name").mkdir()
    (tmp_path / "no-name" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(UserError, match="is neither an installed package nor the folder of"),
        use_plugins([name]),
    ):
        pass


def test_a_hidden_package_is_refused(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "others" / "torch"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    before = list(sys.path)
    with (
        pytest.raises(UserError, match="Python finds another package of this name"),
        use_plugins([str(other)]),
    ):
        pass
    assert sys.path == before
    assert list_plugins() == []


def test_flags_are_taken_from_the_command_line() -> None:
    argv = ["--plugin", "a", "model=sparse", "--plugin=b/c", "-m"]
    assert take_flags(argv) == (["a", "b/c"], ["model=sparse", "-m"])
    with pytest.raises(UserError, match="--plugin: needs a name"):
        take_flags(["model=sparse", "--plugin"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("parts.Nothing", "no such class"),
        ("nothing.Halving", "no such class"),
        ("parts.Constraint.forward", "no such class"),
        ("__main__.Halving", "no such class"),
        ("parts/../parts.Halving", "no such class"),
        ("parts..Halving", "no such class"),
        ("parts.", "no such class"),
        ("broken.Halving", r"cannot be imported \(AttributeError: module 'math' .*broken.py line 3\)"),
        ("lacking.Halving", r"cannot be imported \(No module named 'a_package_that_nobody_has'\)"),
    ],
)  # fmt: skip
def test_a_wrong_name_in_a_plugin_is_explained(package: Path, target: str, message: str) -> None:
    with use_plugins([str(package)]), pytest.raises(ValueError, match=message):
        resolve(f"{NAME}.{target}")


def test_classes_of_plugins_are_checked_as_ours(package: Path) -> None:
    found: list[Problem] = []
    with use_plugins([str(package)]):
        assert find_class({"_target_": f"{NAME}.parts.Other"}, "x", Constraint, found) is None
    assert [problem.what for problem in found] == ["is not a subclass of Constraint"]


def test_a_missing_plugin_is_named_with_both_ways_to_give_it() -> None:
    found: list[Problem] = []
    assert find_class({"_target_": f"{NAME}.parts.Halving"}, "x", Constraint, found) is None
    assert str(found[0]) == (
        "x._target_=small_parts.parts.Halving: needs the plug-in small_parts, which is neither "
        "installed nor named. Install it, or name it: --plugin small_parts (in Python "
        'plugins=["small_parts"]).'
    )


@pytest.mark.parametrize("group", BASES)
def test_a_configuration_imports_no_part_of_a_package_that_is_no_plugin(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    node = compose_options(choose_options({}))
    node[group] = {"x": {"_target_": f"{NAME}.parts.Halving"}}
    with pytest.raises(ConfigError, match=rf"{group}\.x\S*: needs the plug-in {NAME}, which is"):
        check(node)
    assert NAME not in sys.modules
    with use_plugins(str(package)), pytest.raises(ConfigError, match="is not a subclass of"):
        check(node)


def test_options_stand_beside_ours_which_win(package: Path) -> None:
    assert "small" not in find_options("constraint")
    with use_plugins([str(package)]):
        found = find_options("constraint")
        assert list(found) == sorted(found)
        assert name_owner_of(found["small"]) == NAME
        assert name_owner_of(found["l1"]) == ""
        node = compose_options({"constraint": ["small", "l1"]})["constraint"]
        assert node["small"] == {"_target_": f"{NAME}.parts.Halving"}
        assert node["l1"]["weight"] == 0.1
        assert "ours" in list_dataset_names()
        plugin = find_plugin(f"{NAME}.parts")
        assert plugin is not None
        assert plugin.conf == package / "conf"
        assert find_plugin(f"{NAME}x.parts") is None
    assert "ours" not in list_dataset_names()
