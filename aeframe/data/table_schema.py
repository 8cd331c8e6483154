"""Schema of a table: its columns, and the elements of a sample that hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal, get_args

import numpy as np

from aeframe.core.errors import UserError, find_closest, shorten
from aeframe.core.repeated import require_unique
from aeframe.data.cell_error import MOST_CELLS, BadCell, CellError
from aeframe.data.table_cells import (
    DATE,
    Cells,
    find_gaps,
    get_cells,
    is_finite,
    is_text,
    number_texts,
    parse_dates,
    parse_numbers,
    write_texts,
)
from aeframe.data.table_words import write_type

Kind = Literal["numeric", "boolean", "categorical", "date", "count"]
Unit = Literal["D", "s", "ms"]

LARGEST = float(np.finfo(np.float32).max)
LISTED = 12  # names in a message, at most
EARLIEST, LATEST = -719_162.0, 2_932_896.0  # days of the years 1 to 9999, since 1970
UNITS = {"D": 1, "s": 86_400, "ms": 86_400_000}  # in a day
FALSE_TRUE, ZERO_ONE = ("False", "True"), ("0", "1")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    categories: the texts of a categorical column, one element of the sample each; the texts of false and true
    of a boolean one. integer: whether all numbers are whole, or all categories whole numbers. origin: is
    subtracted from numbers, and from dates, which are days since 1970. order: of day, month and year
    in dates that are texts. unit: in which all dates are whole. of: the column whose gaps this
    boolean column marks; it is no column of the file.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    integer: bool = False
    origin: float = 0.0
    order: str = ""
    unit: Unit = "D"
    of: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", float(self.origin))  # is written like what is read

    @property
    def width(self) -> int:
        """The number of elements of a sample that hold the column."""
        return len(self.categories) if self.kind == "categorical" else 1

    def encode(self, cells: Cells, where: str) -> np.ndarray:
        """Encode cells as [N, width], NaN for gaps. Raises CellError for a cell that does not fit."""
        gaps = find_gaps(cells)
        if self.kind in ("boolean", "categorical"):
            number = self._number_categories(cells)
            wrong = ~gaps & (number < 0)
            self._refuse(wrong, cells, where, *self._explain_category())
            if self.kind == "boolean":
                return np.where(gaps, np.nan, number)[:, None]
            x = (number[:, None] == np.arange(self.width)).astype(np.float32)
            x[gaps] = np.nan
            return x
        if self.kind == "date":
            values = parse_dates(cells, self.order or "ymd")
            self._refuse(~gaps & np.isnan(values), cells, where, "no date", "Write 2026-01-31.")
        else:
            values = parse_numbers(cells)
            self._refuse(~gaps & np.isnan(values), cells, where, "no number", "Correct it.")
            beyond = ~gaps & ~is_finite(values)
            self._refuse(beyond, cells, where, "beyond the range of float32", "Correct it.")
        if self.kind == "count":
            wrong = ~gaps & ((values < 0) | (values != np.round(values)))
            remedy = f"Correct it, or write {write_type(self.name, 'numeric')}."
            self._refuse(wrong, cells, where, "no count (0, 1, 2, ...)", remedy)
        return (values - self.origin)[:, None]

    def _number_categories(self, cells: Cells) -> np.ndarray:
        """Return the number of each cell's category, [N]; -1 for gaps and other cells."""
        from pyarrow import compute as pc

        known, texts = list(self.categories), write_texts(cells)
        if self.kind == "boolean" and (self.categories == ZERO_ONE or not is_text(cells)):
            values = parse_numbers(cells)
            return np.where((values == 0) | (values == 1), values, -1.0)
        if self.kind == "boolean":
            known, texts = [text.lower() for text in known], pc.utf8_lower(texts)
        return number_texts(texts, known).fill_null(-1).to_numpy(zero_copy_only=False)

    def _explain_category(self) -> tuple[str, str]:
        dots = ["..."] * (len(self.categories) > LISTED)
        listed = ", ".join([*map(shorten, self.categories[:LISTED]), *dots])
        what = "none of the two values" if self.kind == "boolean" else "an unknown category"
        is_number = self.categories == ZERO_ONE  # of which training saw two
        more = f", or train with {write_type(self.name, 'numeric')}" if is_number else ""
        return what, f"Known are {listed}. Correct the cell, or leave it empty{more}."

    def _refuse(self, wrong: np.ndarray, cells: Cells, where: str, what: str, remedy: str) -> None:
        """Raise CellError for the first wrong cells."""
        if wrong.any():
            rows = np.flatnonzero(wrong)[:MOST_CELLS].tolist()
            texts = {row: shorten(repr(cells[row].as_py())) for row in rows}
            found = [BadCell(self.name, row, f"{texts[row]} is {what}", remedy) for row in rows]
            raise CellError(where, found)

    def decode(self, x: np.ndarray) -> Any:
        """Decode [N, width] as a Series. A number between two categories becomes the nearer one."""
        import pandas as pd

        gaps = np.isnan(x).any(1)
        if self.kind in ("boolean", "categorical"):
            number = x.argmax(1) if self.kind == "categorical" else np.nan_to_num(x[:, 0]) >= 0.5
            return self._decode_categories(number.astype(np.int64), gaps)
        values = x[:, 0] if self.origin == 0 else x[:, 0].astype(np.float64) + self.origin
        if self.kind == "date":
            days = np.clip(np.nan_to_num(values.astype(np.float64)), EARLIEST, LATEST)
            stamps = np.round(days * UNITS[self.unit]).astype(np.int64).astype(f"M8[{self.unit}]")
            stamps = stamps.astype("M8[ms]" if self.unit == "ms" else "M8[s]")
            stamps[gaps] = np.datetime64("NaT")
            return pd.Series(stamps)
        if self.kind == "count":
            values = values.clip(min=0)
        return _make_integers(values, gaps) if self.integer else pd.Series(values)

    def _decode_categories(self, number: np.ndarray, gaps: np.ndarray) -> Any:
        import pandas as pd

        if self.kind == "boolean" and self.categories == FALSE_TRUE:
            found = pd.Series(number == 1)
            return found.astype("boolean").mask(gaps) if gaps.any() else found
        if self.integer or self.categories == ZERO_ONE:
            return _make_integers(np.array([int(c) for c in self.categories])[number], gaps)
        texts = np.array(self.categories, object)[number]
        texts[gaps] = None
        return pd.Series(texts, dtype="str")


def _make_integers(values: np.ndarray, gaps: np.ndarray) -> Any:
    """Make a Series of whole numbers, with <NA> for gaps."""
    import pandas as pd

    whole = np.where(gaps, 0, values).round().clip(-(2.0**62), 2.0**62).astype(np.int64)
    found = pd.Series(whole)
    return found.astype("Int64").mask(gaps) if gaps.any() else found


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order. A sample is a vector of `width` elements."""

    columns: tuple[Column, ...]

    @cached_property
    def width(self) -> int:
        """The number of elements of a sample."""
        return sum(column.width for column in self.columns)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The elements of a sample that hold each column."""
        ends = accumulate((column.width for column in self.columns), initial=0)
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns in the file."""
        return tuple(column.name for column in self.columns if not column.of)

    def encode(self, frame: Any, where: str = "table") -> np.ndarray:
        """Encode a DataFrame or a table of Arrow as [N, width], float32, with NaN for gaps.

        Other columns are ignored. where: for messages. Raises UserError for a missing column, and CellError
        for a cell that does not fit.
        """
        own = self.find_columns(list(getattr(frame, "column_names", frame)), where)
        x = np.empty((len(frame), self.width), np.float32)
        columns = {name: get_cells(frame, own[name], where) for name in self.names}
        bad = list[BadCell]()
        for column, place in zip(self.columns, self.slices, strict=True):
            cells = columns[column.of or column.name]
            try:
                x[:, place] = (
                    find_gaps(cells)[:, None] if column.of else column.encode(cells, where)
                )
            except CellError as error:
                bad += error.cells
        if bad:
            raise CellError(where, bad)
        return x

    def find_columns(self, found: Sequence[Any], where: str) -> dict[str, Any]:
        """Find the columns in a table, which may have others: the names there by the names here.

        found: the names of the table's columns. Raises UserError for a name that is missing or ambiguous.
        """
        own = {str(name): name for name in found}
        if absent := [name for name in self.names if name not in own]:
            listed = ", ".join(map(shorten, absent[:LISTED]))
            more = f" and {len(absent) - LISTED} more" if len(absent) > LISTED else ""
            what = f"lacks the column{'s' if len(absent) > 1 else ''} {listed}{more}"
            close = find_closest(absent[0], own)
            hint = f" Is {shorten(close)} meant?" if close else ""
            raise UserError(where, what, f"Give the columns of the training data.{hint}")
        known = set(self.names)
        require_unique([name if (name := str(one)) in known else "" for one in found], where)
        return own

    def decode(self, x: np.ndarray) -> Any:
        """Decode [N, width] in stored units as a DataFrame of the same names, types and texts."""
        import pandas as pd

        parts = {
            column.name: column.decode(x[:, place])
            for column, place in zip(self.columns, self.slices, strict=True)
            if not column.of
        }
        return pd.DataFrame(parts)

    def as_dict(self) -> list[dict[str, Any]]:
        """Return plain data for JSON: each column without what has its default value."""
        plain = Column("", "numeric")
        return [
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(column).items()
                if key in ("name", "kind") or value != getattr(plain, key)
            }
            for column in self.columns
        ]

    @classmethod
    def from_dict(cls, given: Any) -> Schema:
        """Read what `as_dict` returned. Raises ValueError for anything else."""
        if not isinstance(given, list) or not given:
            raise ValueError("columns are not a list")
        columns = tuple(_read_column(one) for one in given)
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise ValueError("columns have one name twice")
        marked = {column.name for column in columns if not column.of}
        for column in columns:
            if column.of and column.of not in marked:
                raise ValueError("a column marks the gaps of an unknown one")
            if column.of and (column.kind != "boolean" or column.categories != ZERO_ONE):
                raise ValueError("a column that marks gaps is not of 0 and 1")
        return cls(columns)


def _read_column(given: Any) -> Column:
    """Read one column from plain data. Raises ValueError."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ValueError("a column is not a mapping")
    values = {**asdict(Column("", "numeric")), **given}
    categories, origin = values["categories"], values["origin"]
    if set(values) != set(Column.__dataclass_fields__):
        raise ValueError("a column has unknown keys")
    if not all(isinstance(values[key], str) for key in ("name", "kind", "order", "unit", "of")):
        raise ValueError("a column has a key that is not text")
    if values["kind"] not in get_args(Kind) or values["unit"] not in UNITS:
        raise ValueError("a column has an unknown kind")
    if values["order"] not in ("", *DATE):
        raise ValueError("a column has an unknown order of dates")
    if not isinstance(categories, list | tuple) or not all(isinstance(c, str) for c in categories):
        raise ValueError("categories are not texts")
    least = {"categorical": 1, "boolean": 2}.get(values["kind"], 0)
    most = {"categorical": math.inf, "boolean": 2}.get(values["kind"], 0)
    if not least <= len(categories) <= most or len(set(categories)) < len(categories):
        raise ValueError("categories do not suit their column")
    if not isinstance(values["integer"], bool):
        raise ValueError("integer is not true or false")
    is_number = isinstance(origin, int | float) and not isinstance(origin, bool)
    if not is_number or not abs(origin) <= LARGEST:
        raise ValueError("origin is not a number")
    if values["integer"] and not all(_is_whole(text) for text in categories):
        raise ValueError("categories are not whole numbers")
    values |= {"categories": tuple(categories), "origin": float(origin)}
    return Column(**values)


def _is_whole(text: str) -> bool:
    """Check whether a text is a whole number as Python writes it, of 64 bits."""
    digits = text.removeprefix("-")
    return digits.isdecimal() and len(digits) < 19 and str(int(text)) == text
