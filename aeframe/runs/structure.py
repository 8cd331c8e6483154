"""Whether what was read from a file is of the kind that is expected in its place."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from aeframe.core.errors import short
from aeframe.core.plain import is_count


class UnfitError(Exception):
    """What of a checkpoint is not as it should be."""


def same_keys(
    like: Mapping[str, Any], found: Any, where: str, optional: Collection[str] = ()
) -> None:
    """Raise UnfitError unless a mapping has the keys of another, but for those that it may lack."""
    if not isinstance(found, dict):
        raise UnfitError(f"{where} is no mapping")
    if odd := [key for key in found if key not in like]:
        raise UnfitError(f"{where} holds {short(odd[0], 60)}")
    if missing := [key for key in like if key not in found and key not in optional]:
        raise UnfitError(f"{where} lacks {missing[0]}")


def check_like(like: Any, found: Any, where: str) -> None:
    """Raise UnfitError unless a value has the type, the keys and the shape of another."""
    if isinstance(like, Tensor):
        return check_tensor(like, found, where)
    if isinstance(like, Mapping):
        same_keys(like, found, where)
        for key, value in like.items():
            check_like(value, found[key], f"{where}.{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            raise UnfitError(f"{where} is no list of {len(like)}")
        for i, value in enumerate(like):
            check_like(value, found[i], f"{where}.{i}")
    elif isinstance(like, bool) or like is None:
        if type(found) is not type(like):
            raise UnfitError(where)
    elif isinstance(like, int):
        if not is_count(found):
            raise UnfitError(f"{where} is no count")
    elif isinstance(like, float):
        if not is_number(found):
            raise UnfitError(f"{where} is no number")
    elif not isinstance(found, type(like)):
        raise UnfitError(where)


def is_number(value: Any) -> bool:
    """Whether it is a number that floats can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return isinstance(value, float) and not math.isnan(value)


def as_floats(value: Any) -> Any:
    """The same with floats for whole numbers, also those in a list: what changes may become a fraction."""
    if isinstance(value, list):
        return [as_floats(inner) for inner in value]
    return float(value) if type(value) is int else value


def check_tensor(like: Tensor, found: Any, where: str) -> None:
    """Raise UnfitError unless a tensor has the shape and the kind of another, in memory of its own."""
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_quantized:
        raise UnfitError(f"{where} is no tensor of numbers")
    if found.shape != like.shape:
        raise UnfitError(f"{where} is of {list(found.shape)}, not {list(like.shape)}")
    floats = found.is_floating_point() and like.is_floating_point()
    if found.dtype != like.dtype and not floats:
        raise UnfitError(f"{where} is of {found.dtype}, not {like.dtype}")
    whole = (
        found.is_contiguous()
        or (found.dim() == 4 and found.is_contiguous(memory_format=torch.channels_last))
        or (found.dim() == 2 and found.t().is_contiguous())  # a dictionary that lies unit by unit
    )
    if found.device.type != "cpu" or not whole:
        raise UnfitError(f"{where} has no memory of its own")


def with_floats(found: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Any]:
    """Replace the whole numbers that older versions saved where a constraint has two floats."""

    def is_old(name: str, value: Any) -> bool:
        kept = like.get(name) if name.endswith(".extremes") else None
        whole = isinstance(value, Tensor) and value.dtype == torch.int64
        return kept is not None and whole and value.shape == kept.shape

    return {k: v.to(like[k].dtype) if is_old(k, v) else v for k, v in found.items()}
