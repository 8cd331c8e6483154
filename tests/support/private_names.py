"""Private names of other libraries, found in the syntax tree of a package's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

OWN = "aeframe"
DOCUMENTED = {"_exit", "_replace", "_asdict", "_fields", "_make"}
"""Names of the standard library that begin with an underscore and are in its manual."""
BY_STRING = {"getattr", "setattr", "hasattr", "delattr"}


class Use(NamedTuple):
    """A private name of another library, in a line of a file."""

    file: str
    name: str
    line: int


def is_private(name: str) -> bool:
    """Check for one leading underscore; names in double ones belong to Python."""
    return name.startswith("_") and name.strip("_") != "" and not name.startswith("__")


def find_uses(package: Path) -> list[Use]:
    """Find all private names that the package's files do not define themselves, in order.

    These are imports, attributes, attributes named by a string, methods of another library that a class of
    ours replaces, and attributes of an imported module or class that are set.
    """
    found = []
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package).as_posix()
        tree = ast.parse(file.read_text())
        uses = {Use(place, name, line) for name, line in _Finder(tree).find()}
        found += sorted(uses, key=lambda use: use.line)
    return found


class _Finder:
    """Looks through one file."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.foreign: dict[
            str, str
        ] = {}  # names that other libraries' imports bind, and what they are
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self._bind(bound, alias.name if alias.asname else bound)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._bind(alias.asname or alias.name, f"{node.module}.{alias.name}")
        self.own = set(self._defined())

    def _bind(self, name: str, what: str) -> None:
        if what.partition(".")[0] != OWN:
            self.foreign[name] = what

    def _defined(self) -> Iterator[str]:
        """Names that the file gives to functions, classes, variables and attributes of `self`."""
        for node in ast.walk(self.tree):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    yield node.name
                case ast.Name(ctx=ast.Store()):
                    yield node.id
                case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                    yield node.attr

    def find(self) -> Iterator[tuple[str, int]]:
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    names = [alias.name for alias in node.names]
                case ast.ImportFrom():
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                case ast.Attribute():
                    names = list(self._of_attribute(node))
                case ast.Call(func=ast.Name(id=called)) if called in BY_STRING:
                    names = [
                        f".{given.value}"
                        for given in node.args[1:2]
                        if isinstance(given, ast.Constant) and is_private(str(given.value))
                    ]
                case ast.ClassDef():
                    yield from self._replaced_by(node)
                    continue
                case _:
                    continue
            for name in names:
                private = any(is_private(part) for part in name.split("."))
                if (private or " = " in name) and name.partition(".")[0] != OWN:
                    yield name, node.lineno

    def _of_attribute(self, node: ast.Attribute) -> Iterator[str]:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if (
            isinstance(node.ctx, ast.Store)
            and isinstance(root, ast.Name)
            and root.id in self.foreign
        ):
            yield f"{self.foreign[root.id]}.{node.attr} = "
        elif is_private(node.attr) and node.attr not in DOCUMENTED:
            of_base = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if of_base or node.attr not in self.own:
                yield f".{node.attr}"

    def _replaced_by(self, node: ast.ClassDef) -> Iterator[tuple[str, int]]:
        """Private methods that a class from another library has, too."""
        bases = [found for base in node.bases if (found := self._class_named(base)) is not None]
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and is_private(part.name):
                for base in bases:
                    if hasattr(base, part.name):
                        yield f"{base.__name__}.{part.name}", part.lineno

    def _class_named(self, base: ast.expr) -> type | None:
        first, _, rest = ast.unparse(base).partition("[")[0].partition(".")
        if first not in self.foreign:
            return None
        whole = ".".join(filter(None, (self.foreign[first], rest)))
        module, _, name = whole.rpartition(".")
        try:
            found = import_module(module)
        except ImportError:  # a class within a class
            return None
        return getattr(found, name, None)
