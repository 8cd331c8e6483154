"""Shards in Parquet: columns of numbers, or one column of lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.core.errors import UserError, shorten
from aeframe.core.repeated import require_unique
from aeframe.data.archive import pick_name
from aeframe.data.shard import Shard

NAMED = 4  # columns in a message, at most
INSTALL = 'Install it: python -m pip install "aeframe[parquet]".'


@dataclass(frozen=True)
class ParquetShard(Shard):
    """Rows of a Parquet file. A row group is read as a whole.

    columns: those with the numbers, in the order of the row's numbers. numbers: of the row groups in the
    file, as empty ones are left out of `groups`.
    """

    columns: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def suit(self, first: Shard, where: str) -> ParquetShard:
        """Return this shard with the columns in the order of the first one's. Raises UserError for others."""
        if not isinstance(first, ParquetShard) or self.columns == first.columns:
            return self
        if differing := sorted(set(self.columns) ^ set(first.columns)):
            listed = ", ".join(map(shorten, differing[:NAMED]))
            what = f"has other columns than {first.path.name}: {listed} in one of them only"
            raise UserError(where, what, "Give all files the same columns.")
        return replace(self, columns=first.columns)

    def read(self, start: int, place: np.ndarray) -> None:
        from pyarrow import parquet

        ends = list(accumulate(self.groups))
        group = next(i for i, end in enumerate(ends) if start < end)
        first = ends[group] - self.groups[group]
        with parquet.ParquetFile(self.path) as opened:
            number = self.numbers[group]
            table = opened.read_row_group(number, columns=list(self.columns), use_threads=False)
        own = slice(start - first, start - first + len(place))
        if is_list(table.schema.field(self.columns[0]).type):
            place[:] = _read_lists(table.column(self.columns[0]), self.shape[1], first)[own]
        else:
            for i, name in enumerate(self.columns):
                place[:, i] = _read_numbers(table.column(name), first)[own]


def open_parquet(path: Path, key: str | None, where: str) -> Shard:
    """Read the footer of a Parquet file. key: the column, where several are lists of numbers."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(where, "needs pyarrow", INSTALL) from error
    with parquet.ParquetFile(path) as opened:
        schema, groups = opened.schema_arrow, _list_groups(opened.metadata)
        require_unique(schema.names, where)
        lists = [field.name for field in schema if is_list(field.type)]
        if lists:
            names = (pick_name(lists, key, where, path.name),)
            kind = schema.field(names[0]).type
            width = _find_width(opened, names[0], kind)
            types = [kind.value_type]
        else:
            names = (
                tuple(schema.names)
                if key is None
                else (pick_name(schema.names, key, where, path.name),)
            )
            types = [schema.field(name).type for name in names]
            width = len(names)
    if others := [str(kind) for kind in types if not _is_number(kind)]:
        remedy = "Leave such columns out, or write dataset=table, which takes every kind of column."
        raise UserError(where, f"holds columns of {shorten(others[0])}, not numbers", remedy)
    stored = np.result_type(*(kind.to_pandas_dtype() for kind in types))
    counts, shape = tuple(groups.values()), (sum(groups.values()), width)
    return ParquetShard(path, shape, stored, groups=counts, columns=names, numbers=tuple(groups))


def is_list(kind: Any) -> bool:
    """Check whether a type of Arrow is a list."""
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _list_groups(metadata: Any) -> dict[int, int]:
    """List the row groups that have rows: their numbers and their rows."""
    counts = {i: metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)}
    return {number: count for number, count in counts.items() if count}


def _find_width(opened: Any, name: str, kind: Any) -> int:
    """Find the length of the lists: that of the type, or that of the first row."""
    if hasattr(kind, "list_size"):
        return int(kind.list_size)
    first = next(opened.iter_batches(1, columns=[name]), None)
    return 0 if first is None or not len(first) else len(first.column(0)[0].values or ())


def _read_numbers(column: Any, first: int) -> np.ndarray:
    _require_values(column, first)
    return column.to_numpy()


def _read_lists(column: Any, width: int, first: int) -> np.ndarray:
    import pyarrow.compute as pc

    _require_values(column, first)
    lengths = pc.list_value_length(column).to_numpy()
    if len(wrong := np.flatnonzero(lengths != width)):
        row = int(wrong[0])
        raise ValueError(
            f"row {first + row} (from 0) has {lengths[row]} numbers instead of {width}"
        )
    values = pc.list_flatten(column)
    if values.null_count:
        row = values.is_null().to_numpy().argmax() // width
        raise ValueError(f"row {first + row} (from 0) has a missing value")
    return values.to_numpy().reshape(-1, width)


def _require_values(column: Any, first: int) -> None:
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        raise ValueError(f"row {first + row} (from 0) has a missing value")
