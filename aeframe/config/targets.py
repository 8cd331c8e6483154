"""Classes that a node names by `_target_`, and the arguments that the node holds for them."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aeframe.config.plugins import Plugin, build_missing_problem, find_plugin
from aeframe.config.signature import list_parameters
from aeframe.core.errors import Problem, describe_error
from aeframe.core.plain import as_mapping
from aeframe.core.process import shorten_path

TORCH = ("torch.optim", "torch.optim.lr_scheduler")
ROOMS = ("models", "networks", "data", "constraints", "runs", "monitoring.loggers")
OURS = tuple(f"aeframe.{room}" for room in ROOMS)
"""Packages whose classes a configuration may name, ours with the modules in them: users add parts there."""
MOVED = {"aeframe.likelihoods": "aeframe.models.likelihoods"}
"""Modules in configurations of earlier versions, and the present modules of their classes."""
FORMER = {present: former for former, present in MOVED.items()}
REMOVED = ("cuda_graph",)
"""Keys of `trainer` in configurations of earlier versions, without an effect on what is trained."""


def use_present_names(node: Mapping[str, Any]) -> dict[str, Any]:
    """Rename classes and drop keys of earlier versions in a saved configuration."""
    saved, trainer = _rename_likelihood(node, MOVED), node.get("trainer")
    if isinstance(trainer, dict):
        saved["trainer"] = {key: value for key, value in trainer.items() if key not in REMOVED}
    return saved


def use_former_names(node: Mapping[str, Any]) -> dict[str, Any]:
    """Rename classes to their first names, on which the identity of a model depends."""
    return _rename_likelihood(node, FORMER)


def _rename_likelihood(node: Mapping[str, Any], modules: Mapping[str, str]) -> dict[str, Any]:
    likelihood = node.get("likelihood")
    if not isinstance(likelihood, dict) or not isinstance(likelihood.get("_target_"), str):
        return dict(node)
    target = _rename(likelihood["_target_"], modules)
    return {**node, "likelihood": {**likelihood, "_target_": target}}


def _rename(target: str, modules: Mapping[str, str]) -> str:
    module, _, name = target.rpartition(".")
    return f"{modules.get(module, module)}.{name}" if module else target


def resolve(target: str) -> Any:
    """Import the class of this dotted name. Raises ValueError for names outside the known packages.

    A configuration may come with a stranger's checkpoint, and to import a module is to run it.
    """
    module, _, name = _rename(target, MOVED).rpartition(".")
    room = module if module in OURS else module.rpartition(".")[0]
    if room in OURS or module in TORCH:
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError("no such class exists") from error
    elif (plugin := find_plugin(module)) is not None:
        found = _import_from(plugin, module, name)
    else:
        what = "only classes of torch.optim, of aeframe's parts and of plug-ins can be named here"
        raise ValueError(what)
    if not isinstance(found, type):
        raise ValueError("no such class exists")
    return found


def _import_from(plugin: Plugin, module: str, name: str) -> Any:
    """Import a name from a plug-in. Raises ValueError, with the line of an error in its code."""
    if "__main__" in module or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("no such class exists")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise ValueError("no such class exists") from error
        raise ValueError(f"cannot be imported ({describe_error(error)})") from error
    except Exception as error:  # whatever the author's code raises
        what = f"{type(error).__name__}: {describe_error(error)}{_find_line(error, plugin)}"
        raise ValueError(f"cannot be imported ({what})") from error


def _find_line(error: Exception, plugin: Plugin) -> str:
    """Find the line of a plug-in's code that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(plugin.folder)]
    last = inside[-1] if inside else None
    return "" if last is None else f", {shorten_path(Path(last.filename))} line {last.lineno}"


def find_missing_plugin(options: Mapping[str, Any]) -> str | None:
    """Find the package that a node's class belongs to, if it is one that only a plug-in can be."""
    target = options.get("_target_")
    if not isinstance(target, str) or "." not in target:
        return None
    package, known = target.partition(".")[0], {*sys.stdlib_module_names, "aeframe", "torch"}
    if not package.isidentifier() or package in known or find_plugin(target) is not None:
        return None
    return package


def list_missing_plugins(node: Mapping[str, Any], keys: Collection[str]) -> list[Problem]:
    """List the plug-ins that these root keys of a saved configuration need and that are missing."""
    nodes = {key: as_mapping(node.get(key)) for key in keys}
    nodes |= {f"constraint.{k}": as_mapping(v) for k, v in nodes.get("constraint", {}).items()}
    found = {key: find_missing_plugin(options) for key, options in nodes.items()}
    return [build_missing_problem(key, package) for key, package in found.items() if package]


def find_class(
    options: Mapping[str, Any], where: str, base: type, found: list[Problem]
) -> type | None:
    """Return the class that a node names, or None with the problem added to `found`."""
    target = options.get("_target_")
    if target is None:
        remedy = f"Write {where}._target_=CLASS."
        found.append(Problem(f"{where}._target_", "does not name a class", remedy))
        return None
    if (package := find_missing_plugin(options)) is not None:
        found.append(build_missing_problem(f"{where}._target_={target}", package))
        return None
    try:
        cls = resolve(str(target))
    except ValueError as error:
        found.append(Problem(f"{where}._target_={target}", str(error)))
        return None
    if not (isinstance(cls, type) and issubclass(cls, base)) or inspect.isabstract(cls):
        found.append(Problem(f"{where}._target_={target}", f"is not a subclass of {base.__name__}"))
        return None
    return cls


class Named(NamedTuple):
    """Class that a group of several options names, with the key and the keys and values of its node."""

    name: str
    where: str
    options: Mapping[str, Any]
    cls: type


def find_named_classes(
    given: Mapping[str, Any], group: str, base: type, found: list[Problem]
) -> Iterator[Named]:
    """Yield the classes of all options of a group, or add what is wrong with their nodes to `found`."""
    for name, options in given.items():
        where = f"{group}.{name}"
        if not isinstance(options, Mapping) or "_target_" not in options:
            what = f"is not among the chosen {group.removesuffix('s')}s"
            found.append(Problem(where, what, f"Add {name} to {group}=[...]."))
        elif (cls := find_class(options, where, base, found)) is not None:
            yield Named(str(name), where, options, cls)


def get_options(options: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments that a node holds for its class."""
    return {k: v for k, v in options.items() if k != "_target_" and k not in without}


def list_keys(target: Any) -> set[str]:
    """Return the keys that can be written for a class."""
    return set(list_parameters(target))
