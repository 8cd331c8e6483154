"""Comparison of a saved state with the one that a run has before training: keys, shapes and types."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from aeframe.core.errors import shorten
from aeframe.core.plain import is_count

SCORES = ("best_model_score", "current_score")
"""Keys of callbacks that are None until the first validation, and then a tensor."""
OPTIONAL = ("decoupled_weight_decay", "stopping_reason", "stopping_reason_message")
"""Keys that older releases of torch and Lightning did not save, and newer ones do without."""
GROWING = ("callbacks.Doctor", "callbacks.Dashboard")
"""Mappings to which later versions add keys."""
UNREAD = ("best_k_models", "stopping_reason_message")
"""Keys of callbacks that are not used."""


class UnfitError(Exception):
    """Reason why a checkpoint does not belong to a run."""


def check_keys(like: Mapping[str, Any], found: Any, where: str) -> None:
    """Raise UnfitError unless a mapping has the keys of another, except those in OPTIONAL and GROWING."""
    if not isinstance(found, dict):
        raise UnfitError(f"{where} is not a mapping")
    if odd := [key for key in found if key not in like]:
        raise UnfitError(f"{where} holds {shorten(odd[0], 60)}")
    missing = [key for key in like if key not in found and key not in OPTIONAL]
    if missing and where not in GROWING:
        raise UnfitError(f"{where} has no {missing[0]}")


def check_like(
    like: Any,
    found: Any,
    where: str,
    *,
    varying: Collection[str] | None = None,
    is_late: bool = False,
) -> None:
    """Raise UnfitError unless a value has the keys, shapes and types of another.

    varying: if given, values must be equal, too, except those of these keys, which may be fractions.
    is_late: None may become a number, and a tensor in SCORES.
    """
    if isinstance(like, Tensor):
        _check_tensor(like, found, where)
    elif isinstance(like, Mapping):
        check_keys(like, found, where)
        for key in (key for key in found if key not in UNREAD):
            place, value = f"{where}.{key}", like[key]
            if is_late and key in SCORES and isinstance(found[key], Tensor):
                value = torch.zeros(())
            if varying is not None and key in varying:
                check_like(as_floats(value), found[key], place)
            else:
                check_like(value, found[key], place, varying=varying, is_late=is_late)
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            raise UnfitError(f"{where} is not a list of {len(like)}")
        for i, value in enumerate(like):
            check_like(value, found[i], f"{where}.{i}", varying=varying, is_late=is_late)
    else:
        is_same = type(found) is type(like) and found == like
        if not is_same and (varying is not None or not _is_alike(like, found, is_late=is_late)):
            raise UnfitError(f"{where} is {shorten(found, 60)}, not {shorten(like, 60)}")


def _is_alike(like: Any, found: Any, *, is_late: bool) -> bool:
    """Compare the types of two plain values."""
    if isinstance(like, bool | str) or (like is None and not is_late):
        return type(found) is type(like)
    if isinstance(like, int):
        return is_count(found)
    if isinstance(found, int) and not isinstance(found, bool):
        return abs(found) < 2**63
    return (isinstance(found, float) and not math.isnan(found)) or found is like is None


def as_floats(value: Any) -> Any:
    """Replace counts by floats where values may become fractions."""
    if isinstance(value, Mapping):
        return {key: as_floats(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_floats(inner) for inner in value]
    return float(value) if type(value) is int else value


def _check_tensor(like: Tensor, found: Any, where: str) -> None:
    """Raise UnfitError unless a tensor has the shape and kind of another, in memory of its own."""
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_quantized:
        raise UnfitError(f"{where} is not a tensor of numbers")
    floats = found.is_floating_point() and like.is_floating_point()
    if found.shape != like.shape or (found.dtype != like.dtype and not floats):
        raise UnfitError(
            f"{where} is {found.dtype} {list(found.shape)}, not {like.dtype} {list(like.shape)}"
        )
    is_whole = (
        found.is_contiguous()
        or (found.dim() == 4 and found.is_contiguous(memory_format=torch.channels_last))
        or (found.dim() == 2 and found.t().is_contiguous())  # stored unit by unit
    )
    if found.device.type != "cpu" or not is_whole:
        raise UnfitError(f"{where} has no memory of its own")
