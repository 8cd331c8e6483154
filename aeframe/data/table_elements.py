"""Elements of a table's samples, by the kind of their column."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data.table_schema import Kind, Schema


def list_kinds(columns: Schema) -> list[Kind]:
    """List the kind of each element's column, [D]."""
    return [column.kind for column in columns.columns for _ in range(column.width)]


def find_elements(columns: Schema, *kinds: Kind) -> Tensor:
    """Return which elements of a sample hold columns of these kinds, bool [D]."""
    return torch.tensor([kind in kinds for kind in list_kinds(columns)])
