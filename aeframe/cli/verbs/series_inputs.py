"""Series given to a verb: read as the run's own series was, and cut into windows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch

from aeframe.cli.verbs.given import Input, make_check, rename_keys
from aeframe.core.plain import as_mapping
from aeframe.data import Series
from aeframe.data.series.recording import Recording
from aeframe.data.windows import WindowRows, choose_stride
from aeframe.runs.model import Model
from aeframe.runs.steps import list_windows

LIKE_THE_RUN = ("time", "channel", "value", "delimiter", "decimal", "encoding")
"""Options of the run that hold for other files, too."""


def is_of_series(model: Model) -> bool:
    """Check whether a network was trained on windows of series."""
    return (
        as_mapping(model.description.config.get("dataset")).get("_target_") == "aeframe.data.Series"
    )


def read_series(words: list[str], model: Model) -> list[Recording]:
    """Read the channels of the run from files. Raises UserError."""
    node = as_mapping(model.description.config.get("dataset"))
    names = [channel.name for channel in model.description.data.usual]
    options = {key: node[key] for key in LIKE_THE_RUN if key in node}
    source = Series(path=words, window=model.shape[1], columns=names, **options)
    with rename_keys():
        return source.read(words, "path")


def open_series(words: list[str], model: Model) -> Input:
    """Open the windows of series, each with the time or the number of its first step as its name."""
    found = read_series(words, model)
    stride = as_mapping(model.description.config.get("dataset")).get("stride")
    window, steps = model.shape[1], sum(one.values.shape[1] for one in found)
    each = stride if isinstance(stride, int) else choose_stride(steps, window)
    parts = [list_series_windows(one, window, each) for one in found]

    def blocks(n: int) -> Iterator[np.ndarray]:
        for rows in parts:
            yield from (
                rows.select(some).numpy() for some in torch.arange(len(rows)).split(n) if len(some)
            )

    names = [
        name_steps(one)[rows.starts.numpy()].tolist()
        for one, rows in zip(found, parts, strict=True)
    ]
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    count = sum(map(len, parts))
    return Input(where, count, blocks, make_check(model), list(chain.from_iterable(names)))


def list_series_windows(one: Recording, window: int, stride: int) -> WindowRows:
    """List the windows that cover a series. Raises UserError if it has none."""
    from aeframe.core.errors import UserError

    rows = (
        list_windows(one.values, one.breaks, window, stride)
        if one.values.shape[1] >= window
        else None
    )
    if rows is None or not len(rows):
        what = f"has no part of {window:,} steps without gaps, which are a window of this model"
        raise UserError(
            one.where.removeprefix("dataset.path="), what, "Give longer series, or fill gaps."
        )
    return rows


def name_steps(one: Recording) -> np.ndarray:
    """Name each step by its time as in the file, or by its number."""
    if one.times is None:
        return np.arange(one.values.shape[1]).astype(np.str_)
    return np.array([str(time) for time in one.times.to_pylist()], np.str_)
