"""Columns of a table and channels of a signal: their names, and the range that pictures show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aeframe.data.layouts import is_like_signal
from aeframe.data.normalization.spread import LEAST, Columns
from aeframe.data.source import Raw, Samples, Shape, Share

MOST = 60  # columns of a table
ELEMENTS = 2**20  # of the measured rows
FENCE = (
    3.0  # interquartile ranges beyond the quartiles: values farther out are outliers (Tukey 1977)
)


class UsualRange(NamedTuple):
    """Range of the stored values of a table's column or of a signal's channel, without outliers."""

    name: str
    low: float
    high: float


def find_usual_ranges(train: Samples) -> tuple[UsualRange, ...]:
    """Find the ranges of a table's columns or of a signal's channels; images and other data have none."""
    raw = train.raw
    shape = raw.rows.sample
    channels = count_channels(shape, raw.axes)
    if channels == 1 and not (len(shape) == 2 or _is_table(train)):
        return ()
    rows = train.spread_evenly(max(1, ELEMENTS // raw.rows.elements))
    x = train[Share(rows, len(rows))].x.double()
    raw.release()
    values = split_channels(x, raw.axes) if channels > 1 or len(shape) == 2 else x[:, :, None]
    low, high = -_find_highest(-values.amin(2).numpy()), _find_highest(values.amax(2).numpy())
    names = raw.names or name_elements(raw) or tuple(map(str, range(len(low))))
    return tuple(map(UsualRange, names, low.tolist(), high.tolist()))


def _is_table(train: Samples) -> bool:
    shape = train.raw.rows.sample
    if len(shape) != 1 or shape[0] > MOST or train.raw.axes:
        return False
    if train.raw.names or train.raw.columns is not None or shape[0] < LEAST:
        return True
    return not Columns.measure(train).are_signal


def name_elements(raw: Raw) -> tuple[str, ...]:
    """Name the elements of a table's samples."""
    columns = () if raw.columns is None else raw.columns.columns
    texts = (
        [f"{c.name}={text}" for text in c.categories] if c.width > 1 else [c.name] for c in columns
    )
    return tuple(chain.from_iterable(texts))


def _find_highest(values: np.ndarray) -> np.ndarray:
    """Find the highest value of each column [N, columns] that is no outlier."""
    values = np.where(np.isnan(values).all(0), 0.0, values)  # a column of gaps alone
    first, third = np.nanpercentile(values, (25, 75), axis=0)
    fence = np.where(third > first, third + FENCE * (third - first), np.inf)
    found: np.ndarray = np.where(values <= fence, values, -np.inf).max(0)  # also without gaps
    return found


def count_channels(shape: Shape, axes: Shape) -> int:
    """Count the channels of a signal [C, L], an image of one line, or a vector with two axes in its file."""
    if len(shape) == 3:
        return shape[0] if min(shape[1:]) == 1 else 1
    if len(shape) == 2:
        return shape[0]
    return min(axes) if len(axes) == 2 and is_like_signal(axes) else 1


def count_columns(shape: Shape, axes: Shape) -> int:
    """Count the columns of a vector or the channels of a signal; images have 0."""
    if len(shape) == 3:
        return shape[0] if min(shape[1:]) == 1 else 0
    return shape[0] if (channels := count_channels(shape, axes)) == 1 else channels


def split_channels(x: Tensor, axes: Shape) -> Tensor:
    """Split samples [n, *shape] into their channels, [n, channels, length]."""
    shape = tuple(x.shape[1:])
    channels = count_channels(shape, axes)
    if len(shape) == 1 and channels > 1 and axes[1] == channels:
        return x.reshape(-1, *axes).movedim(2, 1)
    return x.reshape(len(x), channels, -1)


def spread_over_elements(of_columns: Sequence[float], shape: Shape, axes: Shape) -> Tensor:
    """Give each element of a sample the number of its column or channel, [*shape], float64."""
    numbers = torch.tensor(of_columns, dtype=torch.float64)
    if len(numbers) == math.prod(shape):
        return numbers.view(shape)
    places = torch.arange(math.prod(shape)).view(1, *shape)
    found = torch.empty(places.numel(), dtype=torch.float64)
    found[split_channels(places, axes)[0]] = numbers[:, None]
    return found.view(shape)
