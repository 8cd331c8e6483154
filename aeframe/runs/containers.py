"""Containers of samples: arrays, tables, lists and iterators that a model accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import UserError, describe_error

TAKEN = "Give an array, a tensor, a DataFrame, a list of them, or an iterator over batches."


def convert_to_array(x: Any, shape: tuple[int, ...], where: str) -> np.ndarray | Tensor | None:
    """Convert samples of `shape` to one array or tensor; None for an iterator, which is read later.

    Lists and tuples hold samples, which are stacked, or batches, which are joined. where: for messages.
    Raises UserError for anything else.
    """
    if isinstance(x, np.ndarray | Tensor):
        return x
    if isinstance(x, Iterator):
        return None
    if isinstance(x, Sequence) and not isinstance(x, str | bytes):
        return _join(list(x), shape, where)
    if _is_array_like(x):
        return _convert_to_numbers(x, where)
    raise UserError(where, f"is {type(x).__name__}, not samples", _choose_remedy(x, where))


def read_batches(x: Iterator[Any], where: str) -> Iterator[Any]:
    """Iterate over batches. Raises UserError for iterators among them."""
    for part in x:
        if isinstance(part, Iterator):
            raise UserError(where, "is an iterator over iterators", TAKEN)
        yield part


def widen_bfloat16(x: Any) -> Any:
    """Convert a tensor or an array of bfloat16, which NumPy does not have, to float32."""
    if isinstance(x, Tensor):
        return x.detach().float() if x.dtype == torch.bfloat16 else x
    if getattr(getattr(x, "dtype", None), "name", "") == "bfloat16":
        return np.asarray(x).astype(np.float32)
    return x


def _join(parts: list[Any], shape: tuple[int, ...], where: str) -> np.ndarray | Tensor:
    if not parts:
        raise UserError(where, "holds no samples", "Give at least one.")
    if not any(_is_array_like(part) for part in parts):
        return _convert_to_numbers(parts, where)  # lists of numbers
    batches = _are_batches(tuple(np.shape(parts[0])), shape)
    try:
        if all(isinstance(part, Tensor) for part in parts):
            return torch.cat(parts) if batches else torch.stack(parts)
        arrays = [_convert_to_numbers(part, where) for part in parts]
        return np.concatenate(arrays) if batches else np.stack(arrays)
    except (ValueError, RuntimeError) as error:  # different shapes or devices
        what = f"holds samples of different shapes or devices ({describe_error(error).rstrip('.')})"
        raise UserError(where, what, "Give samples of one shape.") from error


def _are_batches(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Check whether arrays of this shape are batches of samples, not single samples."""
    layouts = [shape, (*shape[1:], shape[0])] + ([shape[1:]] if shape[0] == 1 else [])
    return found not in layouts and found[1:] in layouts


def _is_array_like(x: Any) -> bool:
    """Check whether NumPy can read numbers from it: DataFrames, images, arrays of other packages."""
    return any(hasattr(x, name) for name in ("__array__", "__array_interface__"))


def _convert_to_numbers(x: Any, where: str) -> np.ndarray:
    """Convert to numbers as NumPy does; columns of several types become floats."""
    try:
        x = widen_bfloat16(x)
        found = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x)
        return found.astype(np.float64) if found.dtype == object else found
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"holds values that are not numbers ({describe_error(error).rstrip('.')})"
        raise UserError(
            where, what, "Leave out columns of text, and give rows of one length."
        ) from error


def _choose_remedy(x: Any, where: str) -> str:
    if isinstance(x, str | bytes):
        return "Load the file first, e.g. with numpy.load."
    if hasattr(x, "toarray"):  # SciPy's sparse matrices
        return f"Write {where}.toarray()."
    if hasattr(x, "keys"):
        return "Give one of its entries."
    return f"Write iter({where}) to go through its batches." if isinstance(x, Iterable) else TAKEN
