"""DataFrames as samples of a model that was trained on a table, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.data import DataSpec
from aeframe.data.cell_error import BadCell, CellError
from aeframe.data.table_cells import find_gaps, get_cells, require_tables
from aeframe.data.table_schema import Column, Schema


def is_frame(x: Any) -> bool:
    """Check whether x is a DataFrame of pandas or a table of Arrow."""
    return hasattr(x, "column_names") or (hasattr(x, "columns") and hasattr(x, "iloc"))


def encode_frames(x: Any, data: DataSpec, where: str) -> Any:
    """Encode a DataFrame, or a list of them, as samples [N, D], by the names of the columns.

    Other samples are returned unchanged, and also those of a model without named columns. Raises UserError
    for a missing column, and CellError for a cell that does not fit.
    """
    parts = x if isinstance(x, list | tuple) else [x]
    if data.columns is None or not parts or not all(map(is_frame, parts)):
        return x
    require_tables("a DataFrame")
    return np.concatenate([_encode_frame(part, data, where) for part in parts])


def _encode_frame(frame: Any, data: DataSpec, where: str) -> np.ndarray:
    assert data.columns is not None
    x = data.columns.encode(frame, where)
    if not data.gaps and bool((wrong := np.isnan(x)).any()):
        row = int(wrong.any(1).argmax())
        column = _get_column(data.columns, int(wrong[row].argmax()))
        remedy = "Fill it: the model was trained on data without gaps."
        raise CellError(where, [BadCell(column.name, row, "is empty", remedy)])
    return x


def _get_column(schema: Schema, element: int) -> Column:
    """Return the column of an element of a sample."""
    places = zip(schema.columns, schema.slices, strict=True)
    return next(column for column, place in places if element < place.stop)


def decode_frame(x: Any, given: Any, data: DataSpec) -> Any:
    """Decode samples [N, D] as a DataFrame with the index of the given one.

    They are returned unchanged unless a DataFrame was given, to a model with named columns.
    """
    if data.columns is None or not is_frame(given):
        return x
    frame = data.columns.decode(np.asarray(x))
    return frame.set_axis(given.index) if hasattr(given, "index") else frame


def fill_columns(frame: Any, made: np.ndarray, schema: Schema, where: str) -> dict[str, Any]:
    """Return the columns with the decoded values of `made` [N, D] in place of gaps, as Series."""
    own = schema.find_columns(list(getattr(frame, "column_names", frame)), where)
    filled = dict[str, Any]()
    for column, place in zip(schema.columns, schema.slices, strict=True):
        if column.of:
            continue
        cells = get_cells(frame, own[column.name], where)
        gaps, values = find_gaps(cells)[:, None], column.encode(cells, where)
        # the shortest decimals of float32: 36.2, not 36.200000762939453
        filling = made[:, place].astype(str).astype(values.dtype)
        if column.integer and column.kind == "numeric":
            filling = np.round(filling)
            is_whole = bool((values[~gaps] == np.round(values[~gaps])).all())
            column = replace(column, integer=is_whole)
        filled[column.name] = column.decode(np.where(gaps, filling, values))
    return filled


def require_columns(data: DataSpec, where: str) -> Schema:
    """Return the columns of the training data. Raises UserError if it was no table."""
    if data.columns is None:
        what = "this model was not trained on a table"
        raise UserError(where, what, "Write a file in .npy, or train with dataset=table.")
    return data.columns


def share_columns(squares: Tensor, present: Tensor | None, schema: Schema) -> Tensor:
    """Return the share of each column in the present squares of a row, [B, D].

    They add up to 1, and are 0 in a row without a present element.
    """
    if present is not None:
        squares = squares.where(present, 0)
    total = squares.sum(1, keepdim=True).clamp(min=torch.finfo(squares.dtype).tiny)
    widths = [column.width for column in schema.columns]
    columns = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths)).to(squares.device)
    return squares.new_zeros(len(squares), len(widths)).index_add_(1, columns, squares / total)
