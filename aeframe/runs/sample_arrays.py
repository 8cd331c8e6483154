"""Arrays of samples as they are stored, checked and converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.data import DataSpec, Normalization
from aeframe.data.memory_map import as_tensor

Array = TypeVar("Array", np.ndarray, Tensor)
"""Type of the input, which is also that of the result."""


class SampleError(UserError):
    """Error for an invalid sample. row: its index. plain: the message without it."""

    def __init__(self, where: str, what: str, remedy: str, row: int) -> None:
        super().__init__(where, f"{what} in sample {row:,} (from 0)", remedy)
        self.plain, self.remedy, self.row = what, remedy, row
        self.args = (where, what, remedy, row)


@contextmanager
def offset_rows(start: int) -> Iterator[None]:
    """Offset the row numbers in errors."""
    try:
        yield
    except SampleError as error:
        where = error.problems[0].where
        raise SampleError(where, error.plain, error.remedy, start + error.row) from None


def convert_to_rows(x: np.ndarray | Tensor, where: str) -> Tensor:
    """Convert an array to a tensor, which shares its memory where torch can."""
    if isinstance(x, Tensor):
        return x.detach()
    if x.dtype.name == "bfloat16":  # of ml_dtypes
        return convert_to_rows(x.view(np.uint16), where).view(torch.bfloat16)
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        remedy = "Give integers or floats of at most 64 bits."
        raise UserError(where, f"holds {x.dtype}, not numbers", remedy)
    if not x.dtype.isnative or any(step < 0 for step in x.strides):
        x = x.astype(x.dtype.newbyteorder("="), order="C")
    return as_tensor(x)


def arrange_rows(
    x: np.ndarray | Tensor, shape: tuple[int, ...], where: str, *, is_flat: bool
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Convert an array to samples [N, *shape], and return a function that converts others back.

    is_flat: arrays of any shape are vectors. Raises UserError for other shapes.
    """
    change = flatten_samples if is_flat else add_channels
    rows, restore_layout = change(convert_to_rows(x, where), shape)
    check_shape(tuple(rows.shape), shape, where)
    return rows, restore_layout


def add_channels(x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Convert images [N, H, W] or [N, H, W, C] to [N, C, H, W], likewise signals and volumes, and return a
    function that converts back.

    Other arrays are returned unchanged, also those that match `shape` already.
    """
    if len(shape) < 2 or x.shape[1:] == shape:
        return x, lambda made: made
    if shape[0] == 1 and x.shape[1:] == shape[1:]:
        return x[:, None], lambda made: made[:, 0]
    if x.shape[1:] == (*shape[1:], shape[0]):
        return x.movedim(-1, 1), lambda made: made.movedim(1, -1)
    return x, lambda made: made


def flatten_samples(x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Convert samples of several axes to vectors, and return a function that converts back.

    Other arrays are returned unchanged.
    """
    given = x.shape[1:]
    if len(shape) != 1 or len(given) < 2 or given.numel() != shape[0]:
        return x, lambda made: made
    return x.flatten(1), lambda made: made.reshape(-1, *given)


def check_shape(found: tuple[int, ...], shape: tuple[int, ...], where: str) -> None:
    """Raise UserError unless `found` is [N, *shape] with at least one sample."""
    if len(found) == len(shape) + 1 and found[1:] == shape:
        if found[0] == 0:
            raise UserError(where, "holds no samples", "Give at least one.")
        return
    expected = f"[N, {', '.join(map(str, shape))}]"
    remedy = f"Give an array of {expected}."
    if found == shape:
        remedy = f"Write {where}[None] for a single sample."
    raise UserError(where, f"has shape {list(found)}, but this model takes {expected}", remedy)


def check_values(x: Tensor, data: DataSpec, where: str) -> None:
    """Raise UserError for samples, [N, ...], that the network does not accept; SampleError names
    the first.

    Numbers of any type are accepted if the model's type can hold them: whole numbers for integers,
    in their range. NaN is a gap, where the training data could have some.
    """
    integers = not data.dtype.is_floating_point
    name, given = (str(dtype).removeprefix("torch.") for dtype in (data.dtype, x.dtype))
    low, high = find_limits(data)
    remedy = f"Give them as the training data was, from {low:g} to {high:g}."
    if x.is_complex():
        raise UserError(where, f"holds {given}, but this model takes {name}", remedy)
    if data.gaps and x.is_floating_point():
        x = x.where(x.isnan().logical_not(), 0)
    least, most = x.double().aminmax()  # NaN propagates to both
    if not bool(torch.isfinite(torch.stack((least, most)).float()).all()):
        what = f"holds {'' if data.gaps else 'NaN, '}infinity or values beyond float32"
        row = _find_first(~x.float().isfinite())
        raise SampleError(where, what, "Remove such samples, or replace the values.", row)
    if not integers:
        return
    if x.is_floating_point() and bool((odd := x != x.round()).any()):
        row, value = _find_first(odd), x[odd][0]
        what = f"must be whole numbers ({name}), but holds {value:g}"
        raise SampleError(where, what, remedy, row)
    if float(least) < low or float(most) > high:
        what = f"must lie between {low:g} and {high:g}, but goes from {least:g} to {most:g}; the first is"
        row = _find_first((x.double() < low) | (x.double() > high))
        raise SampleError(where, what, "Give the values as the training data was stored.", row)


def normalize_samples(
    x: Tensor, data: DataSpec, normalization: Normalization, where: str
) -> Tensor:
    """Check samples, [N, ...], and normalize them on the device of the network. Raises UserError like
    `check_values`, also for values that are infinite when they are normalized: their scores would be NaN.
    """
    check_values(x, data, where)
    normal = normalization(x.contiguous().to(normalization.scale.device))
    if x.is_floating_point() and bool((beyond := normal.isinf()).any()):
        what = "holds values beyond float32 when they are normalized"
        remedy = "Remove such samples, or replace the values."
        raise SampleError(where, what, remedy, _find_first(beyond))
    return normal


def check_codes(z: Tensor, where: str) -> None:
    """Raise UserError for codes, [N, latent_dim], that are not finite; SampleError names the first."""
    if z.is_complex():
        raise UserError(where, "holds complex numbers", "Give codes as encode makes them.")
    if bool((odd := ~z.isfinite()).any()):
        what = "holds values that are not finite"
        raise SampleError(where, what, "Give codes as encode makes them.", _find_first(odd))


def _find_first(wrong: Tensor) -> int:
    """Return the first row with a wrong value."""
    return int(wrong.flatten(1).any(1).nonzero()[0])


def find_limits(data: DataSpec) -> tuple[float, float]:
    """Return the smallest and the largest value that a stored sample can have."""
    if data.stored is not None:
        return data.stored
    if data.dtype.is_floating_point:
        return torch.finfo(data.dtype).min, torch.finfo(data.dtype).max
    return torch.iinfo(data.dtype).min, torch.iinfo(data.dtype).max


def convert_to_stored(raw: Tensor, data: DataSpec) -> Tensor:
    """Convert numbers to the type and range of stored samples: integers are rounded."""
    known = data.stored or data.seen
    if data.dtype.is_floating_point:
        return raw.to(data.dtype) if known is None else raw.to(data.dtype).clamp(*known)
    low, high = known or find_limits(data)
    # in double precision, which 32 bits fit into
    return raw.double().round_().clamp_(low, min(high, 2.0**62)).to(data.dtype)
