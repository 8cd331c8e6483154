"""Files that `aeframe new` writes: a package, or one part with its options and a test."""

from __future__ import annotations

from string import Template

from aeframe.cli.verbs import observer_templates, optimizer_templates, part_templates

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$package"
version = "0.1.0"
dependencies = ["aeframe"]

[project.entry-points."aeframe.plugins"]
$package = "$package"

[tool.setuptools]
packages = ["$package"]

[tool.setuptools.package-data]
$package = ["conf/**/*.yaml"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""
PACKAGE = '"""Parts for aeframe."""\n'

TRAINS = """

def test_it_trains(tmp_path):
    words = ["$choice", "trainer.max_steps=2", "dashboard.images=0"]
    run = aeframe.train(words, folder=tmp_path / "run", plugins=["$package"], verbose=False)
    assert run.metrics["test/mse"] > 0
"""
"""Test that is the same for every kind."""

KINDS = part_templates.KINDS | observer_templates.KINDS | optimizer_templates.KINDS
GROUPS = {kind: kind for kind in part_templates.KINDS}
GROUPS |= {kind: f"{kind}s" for kind in observer_templates.KINDS} | {"logger": "logger"}
"""Groups of the options by kind of part, for kinds that have options."""


def write_project(package: str) -> dict[str, str]:
    """Write the files of a new package, by their paths."""
    return {
        "pyproject.toml": Template(PROJECT).substitute(package=package),
        f"{package}/__init__.py": PACKAGE,
    }


def write_part(kind: str, name: str, package: str) -> dict[str, str]:
    """Write the files of a new part, by their paths from the folder of the project."""
    words = {**_name_part(name, package), "choice": write_choice(kind, name, package)}
    code, options, test = (Template(text).substitute(words) for text in KINDS[kind])
    files = {f"{package}/{name}.py": code}
    if kind in GROUPS:
        files[f"{package}/conf/{GROUPS[kind]}/{name}.yaml"] = options
    return {**files, f"tests/test_{name}.py": test + Template(TRAINS).substitute(words)}


def write_choice(kind: str, name: str, package: str) -> str:
    """Write the word of the command line that chooses a part."""
    if kind in GROUPS:
        return f"{GROUPS[kind]}={name}"
    return Template(optimizer_templates.CHOICES[kind]).substitute(_name_part(name, package))


def _name_part(name: str, package: str) -> dict[str, str]:
    part = "".join(word.capitalize() for word in name.split("_"))
    return {"name": name, "part": part, "package": package}
