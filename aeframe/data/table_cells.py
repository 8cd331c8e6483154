"""Cells of a table: texts, numbers and dates, as arrays of Arrow and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from aeframe.core.errors import UserError, describe_error, shorten

MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "Null", "null", "None", "NONE", "?"),
)
"""Texts that mean a gap."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = rf"\b(?P<month>{'|'.join(MONTHS)})[a-z]*\.?"
ZONE = r"\s?(?P<zone>z|utc|gmt|[+-]\d\d:?\d\d)?"
TIME = rf"(?:[t\s]\s?(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?{ZONE})?"
DATE = {
    "ymd": rf"^(?P<y>\d{{4}})[-/.\s](?P<m>\d{{1,2}})m?[-/.\s](?P<d>\d{{1,2}}){TIME}$",
    "dmy": rf"^(?P<d>\d{{1,2}})[-/.\s]\s?(?P<m>\d{{1,2}})m?[-/.\s],?\s?(?P<y>\d{{4}}){TIME}$",
    "mdy": rf"^(?P<m>\d{{1,2}})m?[-/\s]\s?(?P<d>\d{{1,2}})[-/\s,]\s?(?P<y>\d{{4}}){TIME}$",
}
"""How each order of day, month and year is written, in lower case, with 1m in place of january."""
Order = Literal["ymd", "dmy", "mdy"]
DAY = 86_400 * 10**6  # in microseconds

Cells = Any  # an array of Arrow
Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
WHOLE = r"^(-?\d+)\.0+$"
"""Pattern of a text that is a whole number with a point."""


def require_tables(what: str) -> None:
    """Raise UserError if pandas or pyarrow is not installed. what: needs them."""
    from importlib.util import find_spec

    if absent := [name for name in ("pandas", "pyarrow") if find_spec(name) is None]:
        remedy = "Run: python -m pip install 'aeframe[tables]'."
        raise UserError(what, f"needs {' and '.join(absent)}", remedy)


def get_cells(frame: Any, name: Any, where: str) -> Cells:
    """Return a column of a DataFrame or of a table of Arrow, with null for each gap.

    Texts lose the spaces around them. Raises UserError for objects that have no common type.
    """
    import pyarrow as pa

    column = frame[name]
    try:
        if not isinstance(column, pa.Array | pa.ChunkedArray):
            column = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        what = f"column {shorten(name)} holds values of several types ({describe_error(error)})"
        raise UserError(where, what, "Convert them to numbers or texts.") from error
    return clean_cells(column)


def clean_cells(column: Cells) -> Cells:
    """Return the column as one array: texts without spaces around them, and null for each gap."""
    import pyarrow as pa
    from pyarrow import compute as pc

    cells = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(cells, pa.ChunkedArray):  # of too many bytes for one array, or without any chunk
        cells = pa.concat_arrays([c.cast(pa.large_string()) for c in cells.chunks])
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_floating(cells.type):
        return pc.if_else(pc.is_nan(cells), None, cells)
    if not is_text(cells):
        return cells
    cells = pc.utf8_trim_whitespace(cells)
    gaps = pc.is_in(cells, value_set=pa.array(MISSING, cells.type))
    return pc.if_else(gaps, pa.scalar(None, cells.type), cells)


def is_text(cells: Cells) -> bool:
    """Check whether the cells are texts."""
    import pyarrow as pa

    return pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)


def find_gaps(cells: Cells) -> Bools:
    """Find the gaps, [N]."""
    return cells.is_null().to_numpy(zero_copy_only=False)


def parse_numbers(cells: Cells) -> Floats:
    """Parse numbers, [N]; NaN for a gap and for what is no number. They may be infinite."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if is_text(cells):
        cells = pc.if_else(
            pc.match_substring_regex(cells, NUMBER), cells, pa.scalar(None, cells.type)
        )
    elif pa.types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    elif pa.types.is_duration(cells.type):
        return _scale(cells.cast(pa.duration("us"), safe=False).cast(pa.int64()), 1e-6)
    elif not (
        pa.types.is_integer(cells.type)
        or pa.types.is_floating(cells.type)
        or pa.types.is_decimal(cells.type)
    ):
        return np.full(len(cells), np.nan)
    return cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def is_finite(values: Floats) -> Bools:
    """Find the numbers that are finite in float32, [N]."""
    with np.errstate(over="ignore"):
        return np.isfinite(values.astype(np.float32))


def _scale(cells: Cells, factor: float) -> Floats:
    import pyarrow as pa

    found: Floats = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found * factor


def parse_dates(cells: Cells, order: str) -> Floats:
    """Parse dates as days since 1970 (UTC), [N]; NaN for a gap and for what is no date of this order."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if pa.types.is_date(cells.type) or pa.types.is_timestamp(cells.type):
        stamps = cells.cast(pa.timestamp("us", getattr(cells.type, "tz", None)), safe=False)
        day, rest = np.divmod(stamps.cast(pa.int64()).fill_null(0).to_numpy(), DAY)
        # rounded as the days of a text are
        return np.where(cells.is_null().to_numpy(zero_copy_only=False), np.nan, day + rest / DAY)
    if not is_text(cells):
        return np.full(len(cells), np.nan)
    parts = pc.extract_regex(_number_months(pc.utf8_lower(cells)), DATE[order])
    part = {field.name: parts.field(i) for i, field in enumerate(parts.type)}
    year, month, day, hour, minute, second = (
        _parse_part(part[name], parts) for name in ("y", "m", "d", "hour", "minute", "second")
    )
    found = ~np.isnan(year) & (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)
    months = np.where(found, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    lengths = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(float)
    found &= (day <= lengths) & ~(hour >= 24) & ~(minute >= 60) & ~(second >= 61)
    seconds = np.nan_to_num(hour) * 3600 + np.nan_to_num(minute) * 60 + np.nan_to_num(second)
    seconds -= _parse_zones(part["zone"])
    days = months.astype("M8[D]").astype(float) + day - 1 + seconds / 86_400
    return np.where(found, days, np.nan)


def _parse_part(texts: Cells, parts: Cells) -> Floats:
    """Parse the numbers of one part of dates; NaN where it is not written."""
    import pyarrow as pa
    from pyarrow import compute as pc

    is_written = pc.and_(parts.is_valid(), pc.greater(pc.utf8_length(texts), 0))
    texts = pc.if_else(is_written, texts, pa.scalar(None, texts.type))
    return texts.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _parse_zones(texts: Cells) -> Floats:
    """Parse offsets from UTC, such as +02:00, in seconds."""
    from pyarrow import compute as pc

    found = np.zeros(len(texts))
    for zone in pc.unique(texts).to_pylist():
        if zone and zone[0] in "+-":
            digits = zone[1:].replace(":", "")
            offset = int(f"{zone[0]}1") * (int(digits[:2]) * 60 + int(digits[2:])) * 60
            found[pc.equal(texts, zone).fill_null(False).to_numpy(zero_copy_only=False)] = offset
    return found


def _number_months(texts: Cells) -> Cells:
    """Replace the English names of months by their numbers and m, in lower-case texts."""
    from pyarrow import compute as pc

    if not pc.any(pc.match_substring_regex(texts, MONTH)).as_py():
        return texts
    for number, name in enumerate(MONTHS, 1):
        texts = pc.replace_substring_regex(texts, rf"\b{name}[a-z]*\.?", f"{number}m")
    return texts


def write_texts(cells: Cells) -> Cells:
    """Write the cells as texts: whole numbers without a point, True and False."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if is_text(cells):
        return cells.cast(pa.large_string())
    if pa.types.is_boolean(cells.type):
        return pc.if_else(cells, "True", "False").cast(pa.large_string())
    return cells.cast(pa.large_string())


def number_texts(texts: Cells, known: Sequence[str]) -> Cells:
    """Return the place of each text in `known`, or null. 1.0 stands for 1: pandas adds .0 beside gaps."""
    import pyarrow as pa
    from pyarrow import compute as pc

    values = pa.array(known, pa.large_string())
    found = pc.index_in(texts, value_set=values, skip_nulls=True)
    if found.null_count == texts.null_count:
        return found
    shorter = pc.replace_substring_regex(texts, WHOLE, r"\1")
    return pc.coalesce(found, pc.index_in(shorter, value_set=values, skip_nulls=True))
