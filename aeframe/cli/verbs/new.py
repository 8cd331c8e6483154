"""The verb new: the files of a package of one's own parts, or of one part in it."""

from __future__ import annotations

import argparse
import keyword
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

from aeframe.cli.verbs.new_files import GROUPS, KINDS, write_choice, write_part, write_project
from aeframe.cli.verbs.verb import Verb
from aeframe.config.composition import find_options
from aeframe.config.plugins import FLAG, GROUP
from aeframe.core.errors import UserError, build_read_error
from aeframe.core.process import shorten_path

PLUGIN = "plugin"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=[PLUGIN, *KINDS], help="a package, or a part in it")
    parser.add_argument("name", metavar="NAME", help="its name, such as halving")


def _make(options: argparse.Namespace) -> None:
    kind, name = options.kind, options.name
    where = f"aeframe new {kind} {shlex.quote(name)}"
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        remedy = "Write small letters, digits and _ only, such as my_part."
        raise UserError(where, "is not the name of a Python module", remedy)
    if kind == PLUGIN:
        _write(Path(name), write_project(name), where)
        print(f"Next: cd {name} && aeframe new constraint halving")
        return
    folder, package = _find_package(where)
    if kind in GROUPS and name in find_options(GROUPS[kind]):
        raise UserError(where, f"{GROUPS[kind]}={name} exists already", "Choose another name.")
    _write(folder, write_part(kind, name, package), where)
    print(f"Test:  python -m pytest {shorten_path(folder / 'tests' / f'test_{name}.py')}")
    choice = shlex.quote(write_choice(kind, name, package))
    print(f"Train: aeframe train {FLAG} {shorten_path(folder / package)} {choice}")


def _find_package(where: str) -> tuple[Path, str]:
    """Find the project that the current folder is in, and the package that it declares as a plug-in."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            project = tomllib.loads(file.read_text("utf-8")).get("project", {})
        except (OSError, ValueError) as error:
            raise build_read_error(str(file), error, "Correct the file.") from error
        for package in project.get("entry-points", {}).get(GROUP, {}).values():
            for place in (folder, folder / "src"):
                if (place / package / "__init__.py").is_file():
                    return place, package
    remedy = "Make one: aeframe new plugin my_package && cd my_package"
    raise UserError(where, f"no package with the entry point {GROUP} is here", remedy)


def _write(folder: Path, files: Mapping[str, str], where: str) -> None:
    """Write new files, and print their names. Raises UserError before the first if one exists."""
    for path in (folder / name for name in files):
        if path.exists():
            raise UserError(where, f"{shorten_path(path)} exists already", "Choose another name.")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
        print(shorten_path(folder / name))


VERBS = (
    Verb(
        "new",
        "a package for your own parts, or one part with its options and a test",
        "aeframe new plugin my_package\n  cd my_package && aeframe new constraint halving",
        _add_arguments,
        _make,
    ),
)
