"""Plug-ins: packages of other authors, whose classes and options a configuration may name.

A package is a plug-in if its author declares it and the user installs it, or if the user names it: on the
command line with --plugin, in Python with plugins=[...]. No file can name one.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from aeframe.core.errors import Problem, UserError
from aeframe.core.process import use_flags

GROUP = "aeframe.plugins"
"""Group of entry points by which an installed package declares itself: NAME = "PACKAGE"."""
FLAG = "--plugin"
REMEDY = 'Install it, or name it: --plugin {package} (in Python plugins=["{package}"]).'


@dataclass(frozen=True)
class Plugin:
    """One plug-in. package: its name in Python. folder: of the package, with conf/ and the modules."""

    package: str
    folder: Path

    @property
    def conf(self) -> Path:
        """Folder with the package's options, GROUP/OPTION.yaml."""
        return self.folder / "conf"


Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""One plug-in that the user names, or several."""
NAMED: ContextVar[tuple[Plugin, ...]] = ContextVar("plugins", default=())
"""Plug-ins that the user has named."""


def list_plugins() -> list[Plugin]:
    """List the installed plug-ins, and those that the user has named."""
    here = ("", os.path.abspath(os.curdir))  # the folder that one is in may be a stranger's
    installed = _find_installed(tuple(folder for folder in sys.path if folder not in here))
    return list({plugin.package: plugin for plugin in (*installed, *NAMED.get())}.values())


def list_conf_folders() -> list[Path]:
    """List the folders with the plug-ins' options."""
    return [plugin.conf for plugin in list_plugins() if plugin.conf.is_dir()]


def find_plugin(module: str) -> Plugin | None:
    """Find the plug-in that a module belongs to."""
    inside = (p for p in list_plugins() if f"{module}.".startswith(f"{p.package}."))
    return next(inside, None)


def name_owner_of(file: Path) -> str:
    """Return the name of the plug-in that an option's file belongs to; empty if it is no plug-in's."""
    inside = (p.package for p in list_plugins() if file.is_relative_to(p.conf))
    return next(inside, "")


def build_missing_problem(where: str, package: str) -> Problem:
    """Build the problem of a class whose plug-in is missing."""
    what = f"needs the plug-in {package}, which is neither installed nor named"
    return Problem(where, what, REMEDY.format(package=package))


def take_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide a command line into the plug-ins that it names, and the other words."""
    names, others, words = list[str](), list[str](), iter(argv)
    for word in words:
        if word == FLAG:
            if (name := next(words, None)) is None:
                raise UserError(FLAG, "needs a name", f"Write {FLAG} PACKAGE or {FLAG} FOLDER.")
            names.append(name)
        elif word.startswith(f"{FLAG}="):
            names.append(word.partition("=")[2])
        else:
            others.append(word)
    return names, others


@contextmanager
def use_plugins(given: Names) -> Iterator[None]:
    """Use these plug-ins within this context.

    given: names of installed packages, or the folders of packages. A folder's parent joins sys.path. Raises
    UserError for a name of neither, and for a folder that another package of the same name hides.
    """
    words = [given] if isinstance(given, str | os.PathLike) else given
    named = {name: _find_named(name) for name in map(str, words)}
    new = {name: plugin for name, plugin in named.items() if plugin not in NAMED.get()}
    folders = dict.fromkeys(str(plugin.folder.parent) for plugin in new.values())
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    token = NAMED.set((*NAMED.get(), *new.values()))
    try:
        for name, plugin in new.items():
            _require_found(name, plugin)
        with use_flags([word for name in new for word in (FLAG, name)]):
            yield
    finally:
        NAMED.reset(token)
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _find_named(name: str) -> Plugin:
    given = Path(name).expanduser().absolute()
    is_module = name.isidentifier() and not name.startswith("__")
    spec = find_spec(name) if is_module else None
    installed = map(Path, (spec and spec.submodule_search_locations) or ())
    places = [given, given / given.name, *installed]
    folder = next((place for place in places if (place / "__init__.py").is_file()), None)
    if folder is None or not folder.name.isidentifier():
        what = "is neither an installed package nor the folder of a package"
        raise UserError(f"{FLAG} {name}", what, "Name a folder with __init__.py in it.")
    return Plugin(folder.name, folder.resolve())


def _require_found(name: str, plugin: Plugin) -> None:
    """Raise UserError if Python would import another package of this name."""
    spec = find_spec(plugin.package)
    found = Path(spec.origin) if spec is not None and spec.origin else None
    if found is None or found.parent.resolve() != plugin.folder:
        what = f"Python finds another package of this name, {found}"
        raise UserError(f"{FLAG} {name}", what, "Rename one of the two.")


@cache
def _find_installed(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Find the declared packages, without importing one.

    Reads entry_points.txt of installed packages: importlib.metadata takes ten times as long, at each press
    of TAB.
    """
    found = list[Plugin]()
    for folder in path:
        for file in sorted(glob.glob(f"{glob.escape(folder)}/*-info/entry_points.txt")):
            text = Path(file).read_text("utf-8", errors="replace")
            if f"[{GROUP}]" in text:
                found += filter(None, map(_find_declared, _list_values(text)))
    return tuple(found)


def _list_values(text: str) -> list[str]:
    """List the packages in an entry_points.txt."""
    from configparser import ConfigParser

    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.read_string(text)
    return [value.strip() for _, value in parser.items(GROUP)]


def _find_declared(package: str) -> Plugin | None:
    """Find the folder of a package by its top package, which is not imported."""
    top, *below = package.split(".")
    if not all(part.isidentifier() for part in (top, *below)):
        return None
    spec = find_spec(top)
    places = (spec and spec.submodule_search_locations) or ()
    return next((Plugin(package, Path(place, *below).resolve()) for place in places), None)
