"""Network of a saved configuration, built without data or hardware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aeframe.config.check import OBJECTS, ROOT, make_constraints, make_object
from aeframe.config.compatibility import collect_choices, list_pair_problems
from aeframe.config.make import count_batch_rows, make_model
from aeframe.config.result import Parts
from aeframe.config.signature import list_problems
from aeframe.config.sizes import list_size_problems
from aeframe.config.targets import list_keys
from aeframe.constraints import Data
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import ConfigError, Problem
from aeframe.core.plain import as_mapping
from aeframe.data import DataModule, DataSpec, Normalization
from aeframe.data.normalization.rank_normalization import build_blank

MADE = ("network", "likelihood", "model", "constraint")
"""Root keys that determine what a network computes."""


def build_saved_net(node: Mapping[str, Any], spec: DataSpec) -> ConstrainedAutoencoder:
    """Build the network of a configuration, with shapes alone (torch's `meta` device).

    Raises ConfigError for a configuration that no run can have.
    """
    node = {**dict.fromkeys(ROOT), **node}
    parts, target = _build_parts(node, spec), spec.target
    # codes are read as a whole if the loss is a derivative; sharding ended with training
    whole = any(part.needs_derivatives for part in parts.constraints.values())
    with torch.device("meta"), torch.no_grad():
        model = make_model(node, parts, spec.shape, spec.columns, spec.target_shape)
        batch = torch.empty(2, *spec.shape)
        targets = None if target is None else torch.empty(2, *target.shape)
        data = Data(spec.low, spec.high, spec.samples, batch, whole, spec.columns, targets)
        for part in parts.constraints.values():
            part.attach(model, data)
        normalization = _build_normalization(node, spec)
        written = None if target is None else _build_normalization(node, target)
        return ConstrainedAutoencoder(model, parts.constraints, normalization, written)


def _build_parts(node: dict[str, Any], spec: DataSpec) -> Parts:
    parts = Parts()
    for key in ("network", "likelihood", "model"):
        make_object(node, key, OBJECTS[key], parts)
    make_constraints(node, parts)
    splitting = {k: v for k, v in as_mapping(node["dataset"]).items() if k in list_keys(DataModule)}
    parts.problems += list_problems(splitting, DataModule, "dataset", ("source", "seed"))
    if not parts.problems and parts.model is not None:
        node["dataset"] = splitting
        size, has_target = count_batch_rows(node), spec.target is not None
        choices = collect_choices(node, parts, parts.model, size, has_target=has_target)
        parts.problems += list_pair_problems(choices)
        shapes = spec.shape, spec.target_shape
        parts.problems += list_size_problems(node, parts, *shapes, trains=False)
        if (lack := parts.made["likelihood"].columns_problem(spec.written.columns)) is not None:
            parts.problems.append(Problem("likelihood", *lack))
    if parts.problems:
        raise ConfigError(parts.problems)
    return parts


def _build_normalization(node: dict[str, Any], spec: DataSpec) -> Normalization:
    """Build a normalization of the right shapes."""
    kind = spec.normalization or node["dataset"].get("normalization")
    one, each = torch.ones(()), torch.ones(spec.shape[0], *(1 for _ in spec.shape[1:]))
    shift = each if kind in ("rms", "standard", "rank") else one
    scale = each if kind in ("standard", "rank") else one
    neutral = torch.zeros_like(each) if spec.gaps else None
    normalization = Normalization(torch.zeros_like(shift), scale, neutral)
    return build_blank(normalization, spec.shape[0]) if kind == "rank" else normalization


def take_weights(net: ConstrainedAutoencoder, weights: Mapping[str, Tensor], where: str) -> None:
    """Load weights into the network, and allocate memory only when all of them fit.

    Raises ConfigError for tensors of another network.
    """
    scale = weights.get("normalization.scale")
    if scale is not None and scale.dtype == torch.float64:  # trainer.precision=64-true
        net.double()
    like = net.state_dict()
    weights = convert_old_counts(weights, like)
    missing = [f"{name} is missing" for name in like if name not in weights]
    odd = [f"{name} is not one of its weights" for name in weights if name not in like]
    wrong = [
        what
        for name, value in weights.items()
        if name in like and (what := _find_fault(name, value, like[name])) is not None
    ]
    if found := [*missing, *odd, *wrong]:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        what = f"does not hold the weights of its own configuration ({found[0]}{more})"
        raise ConfigError([Problem(where, what, "Take the file that the run wrote.")])
    net.to_empty(device="cpu")  # keeps each layout
    net.load_state_dict(weights)


def convert_old_counts(found: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Any]:
    """Convert the whole numbers that older versions saved for two floats of constraints."""

    def is_old(name: str, value: Any) -> bool:
        kept = like.get(name) if name.endswith(".extremes") else None
        is_whole = isinstance(value, Tensor) and value.dtype == torch.int64
        return kept is not None and is_whole and value.shape == kept.shape

    return {k: v.to(like[k].dtype) if is_old(k, v) else v for k, v in found.items()}


def _find_fault(name: str, value: Tensor, like: Tensor) -> str | None:
    """Describe what is wrong with a tensor, or return None. A few bytes may claim any shape."""
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        return f"{name} is not a tensor of numbers"
    if value.shape != like.shape or value.dtype != like.dtype:
        actual = f"{str(value.dtype)[6:]} {list(value.shape)}"
        return f"{name} is {actual}, not {str(like.dtype)[6:]} {list(like.shape)}"
    if value.untyped_storage().nbytes() < like.nbytes:
        return f"{name} has fewer values than its shape"
    exact = value.is_floating_point() and not name.startswith("constraints.")
    if exact and not bool(value.isfinite().all()):
        return f"{name} is not finite"
    if name == "_extra_state" and bool((value < 0).any()):
        return f"{name} is negative"
    return None
