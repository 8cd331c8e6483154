"""Classes that a node names by `_target_`, and the arguments that the node holds for them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from aeframe.config.signature import list_parameters
from aeframe.core.errors import Problem

TORCH = ("torch.optim", "torch.optim.lr_scheduler")
OURS = tuple(f"aeframe.{room}" for room in ("models", "networks", "data", "constraints", "runs"))
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
    """Import the class of this dotted name. Raises ValueError for names outside the known libraries.

    A configuration may come with a stranger's checkpoint, and to import a module is to run it.
    """
    module, _, name = _rename(target, MOVED).rpartition(".")
    room = module if module in OURS else module.rpartition(".")[0]
    if room not in OURS and module not in TORCH:
        raise ValueError("only classes of torch.optim and of aeframe's parts can be named here")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError("no such class exists") from error
    if not isinstance(found, type):
        raise ValueError("no such class exists")
    return found


def find_class(
    options: Mapping[str, Any], where: str, base: type, found: list[Problem]
) -> type | None:
    """Return the class that a node names, or None with the problem added to `found`."""
    target = options.get("_target_")
    if target is None:
        remedy = f"Write {where}._target_=CLASS."
        found.append(Problem(f"{where}._target_", "does not name a class", remedy))
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


def get_options(options: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments that a node holds for its class."""
    return {k: v for k, v in options.items() if k != "_target_" and k not in without}


def list_keys(target: Any) -> set[str]:
    """Return the keys that can be written for a class."""
    return set(list_parameters(target))
