"""DataFrames from Python with categories, dates or gaps, as Parquet files in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.core.errors import UserError, build_read_error, describe_error
from aeframe.core.files import write_atomically
from aeframe.core.repeated import require_unique
from aeframe.data.table_cells import require_tables

NUMBERS = ["number", "bool"]


def is_frame(part: Any) -> bool:
    """Check whether data is a DataFrame of pandas."""
    return hasattr(part, "select_dtypes")


def needs_table(part: Any) -> bool:
    """Check whether a DataFrame has columns that are no numbers, or gaps."""
    if not is_frame(part):
        return False
    return part.select_dtypes(NUMBERS).shape[1] < part.shape[1] or bool(part.isna().any(axis=None))


def write_tables(parts: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write the DataFrame of each split into a folder. Returns the files by split.

    Raises UserError for other data, and for another DataFrame than that in a file.
    """
    require_tables("data")
    return {
        split: _write(part, split, folder / f"{split}.parquet") for split, part in parts.items()
    }


def _write(part: Any, split: str, file: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    where = "data" if split == "train" else f"data ({split})"
    if not is_frame(part):
        what = f"is {type(part).__name__}, but another split is a table"
        raise UserError(where, what, "Give a DataFrame for each split.")
    names = list(map(str, part.columns))
    require_unique(names, where)
    try:
        table = pa.Table.from_pandas(part.set_axis(names, axis=1), preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        what = f"has a column of values of several types ({describe_error(error)})"
        raise UserError(where, what, "Convert it to numbers or texts.") from error
    if file.exists():
        try:
            before = parquet.read_table(file)
        except (OSError, pa.ArrowException) as error:
            raise build_read_error(str(file), error, "Delete it, and start again.") from error
        if not before.equals(table):
            what = f"is not the data that the run has in {file}"
            raise UserError("data", what, "Give the same data, or another folder.")
        return str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as opened:
        parquet.write_table(table, opened)
    return str(file)
