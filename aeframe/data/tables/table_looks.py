"""What the cells of a column look like: counts and ranges, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from aeframe.data.table_cells import (
    DATE,
    Bools,
    Cells,
    Floats,
    find_gaps,
    is_finite,
    is_text,
    parse_dates,
    parse_numbers,
    write_texts,
)

Decimal = Literal["auto", "point", "comma"]
MOST_TEXTS = 10_000
"""Different texts of a column that are counted; a column with more is none of categories."""
LEAST_ROWS = 20  # whole numbers in a row that are row numbers
COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+$"  # 1,234: a whole number, or a decimal comma
CODE = r"^0\d+$"  # a number that begins with 0 is a code, such as a postal code
POINT, EXPONENT = r"\.", r"[eE]"
SECOND = 86_400


class Place(NamedTuple):
    """The place of a cell: the number of its file, and its row there (from 0)."""

    file: int
    row: int


class Cell(NamedTuple):
    """A cell, for messages."""

    text: str
    place: Place


@dataclass
class Look:
    """What the cells of a column look like.

    is_text: whether the file stores texts. type: of a column with one: boolean, integer, number or date.
    decimal: how fractions are written. rows, gaps: their numbers. numbers, commas: cells that are numbers,
    and that have a decimal comma. low, high, is_whole: of the numbers. is_plain: whether no number has a
    point, a comma or an exponent. rises: whether each is 1 more than the one before. texts: the different
    texts and how often each is there, or None for too many. dated, days: cells that are dates in each order,
    and the first and last. unit: 0 for whole days, 1 for whole seconds, else 2. only_thousands: whether each
    comma may separate thousands. first_...: cells.
    """

    is_text: bool
    type: str
    decimal: Decimal
    rows: int = 0
    gaps: int = 0
    numbers: int = 0
    commas: int = 0
    low: float = np.inf
    high: float = -np.inf
    is_whole: bool = True
    is_plain: bool = True
    rises: bool = True
    texts: dict[str, int] | None = field(default_factory=dict)
    dated: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATE, 0))
    days: dict[str, tuple[float, float]] = field(default_factory=dict)
    unit: int = 0
    first_point: Cell | None = None
    first_comma: Cell | None = None
    first_number: Cell | None = None
    first_other: Cell | None = None
    first_code: Cell | None = None
    first_infinite: Cell | None = None
    first_thousands: Cell | None = None
    only_thousands: bool = True
    first_undated: dict[str, Cell] = field(default_factory=dict)

    @property
    def present(self) -> int:
        """The number of cells that are no gaps."""
        return self.rows - self.gaps

    @property
    def are_numbers(self) -> bool:
        """Check whether all cells are numbers, and none a code such as 007."""
        return self.numbers == self.present and self.first_code is None

    @property
    def count_rows(self) -> bool:
        """Check whether the cells are row numbers."""
        return self.rises and self.low in (0, 1) and self.rows >= LEAST_ROWS

    @property
    def orders(self) -> list[str]:
        """The orders of day, month and year in which all cells are dates."""
        return [order for order, number in self.dated.items() if number == self.present]

    def add(self, cells: Cells, place: Place, *, needs_texts: bool) -> None:
        """Look at more cells. place: of the first one. needs_texts: also of a column with a type."""
        gaps = find_gaps(cells)
        self.rows, self.gaps = self.rows + len(cells), self.gaps + int(gaps.sum())
        if self.texts is not None and (self.is_text or needs_texts):
            self._count_texts(cells)
        if self.type == "date":
            self._add_dates("ymd", parse_dates(cells, "ymd"), gaps, cells, place)
        elif self.is_text:
            self._add_numbers(self._read_numbers(cells, gaps, place), cells, place)
            self._add_text_dates(cells, gaps, place)
        else:
            self._add_numbers(parse_numbers(cells), cells, place)

    def _count_texts(self, cells: Cells) -> None:
        from pyarrow import compute as pc

        assert self.texts is not None
        for one in pc.value_counts(write_texts(cells)).to_pylist():
            if (text := one["values"]) is not None:
                self.texts[text] = self.texts.get(text, 0) + one["counts"]
        if len(self.texts) > MOST_TEXTS:
            self.texts = None

    def _read_numbers(self, cells: Cells, gaps: Bools, place: Place) -> Floats:
        """Read numbers with a decimal point or comma, and note the first cell of each kind."""
        numbers = parse_numbers(cells)
        others = ~gaps & np.isnan(numbers)
        has_comma = others & _match(cells, COMMA) if others.any() else np.zeros(len(cells), bool)
        if self.decimal != "point" and has_comma.any():
            numbers = np.where(has_comma, parse_numbers(replace_commas(cells)), numbers)
            thousands = _match(cells, THOUSANDS)
            self.only_thousands &= not (has_comma & ~thousands).any()
            self.first_thousands = self.first_thousands or _find(thousands, cells, place)
        has_comma &= ~np.isnan(numbers)
        has_point = _match(cells, POINT) & ~np.isnan(numbers) & ~has_comma
        if self.decimal == "comma":
            numbers = np.where(has_point, np.nan, numbers)
        self.is_plain = (
            self.is_plain and not (has_point | has_comma | _match(cells, EXPONENT)).any()
        )
        self.commas += int(has_comma.sum())
        self.first_point = self.first_point or _find(has_point, cells, place)
        self.first_comma = self.first_comma or _find(has_comma, cells, place)
        self.first_number = self.first_number or _find(~np.isnan(numbers), cells, place)
        self.first_other = self.first_other or _find(~gaps & np.isnan(numbers), cells, place)
        self.first_code = self.first_code or _find(_match(cells, CODE), cells, place)
        return numbers

    def _add_numbers(self, numbers: Floats, cells: Cells, place: Place) -> None:
        present = ~np.isnan(numbers)
        self.numbers += int(present.sum())
        self.rises &= bool(present.all() and (np.diff(numbers) == 1).all())
        infinite = present & ~is_finite(numbers)
        self.first_infinite = self.first_infinite or _find(infinite, cells, place)
        if (some := numbers[present]).size:
            self.low, self.high = (
                min(self.low, float(some.min())),
                max(self.high, float(some.max())),
            )
            self.is_whole &= bool((some == np.round(some)).all())

    def _add_text_dates(self, cells: Cells, gaps: Bools, place: Place) -> None:
        """Try every order of day, month and year, unless the cells before were no dates."""
        if self.numbers == self.present or (
            self.rows > len(cells) and not any(self.dated.values())
        ):
            return
        for order in DATE:
            self._add_dates(order, parse_dates(cells, order), gaps, cells, place)

    def _add_dates(
        self, order: str, dates: Floats, gaps: Bools, cells: Cells, place: Place
    ) -> None:
        found = dates[~np.isnan(dates)]
        self.dated[order] += found.size
        other = _find(~gaps & np.isnan(dates), cells, place)
        if other is not None:
            self.first_undated.setdefault(order, other)
        if found.size:
            low, high = self.days.get(order, (np.inf, -np.inf))
            self.days[order] = min(low, float(found.min())), max(high, float(found.max()))
            seconds = found * SECOND
            whole = (
                (found == np.round(found)).all(),
                (np.abs(seconds - np.round(seconds)) < 1e-4).all(),
            )
            self.unit = max(self.unit, 0 if whole[0] else 1 if whole[1] else 2)


def make_look(cells: Cells, decimal: Decimal) -> Look:
    """Make the look of a column by the type of its cells."""
    import pyarrow as pa

    kind = cells.type
    if is_text(cells):
        return Look(True, "", decimal)
    if pa.types.is_boolean(kind):
        return Look(False, "boolean", decimal)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return Look(False, "date", decimal)
    return Look(False, "integer" if pa.types.is_integer(kind) else "number", decimal)


def replace_commas(cells: Cells) -> Cells:
    """Replace decimal commas by points in texts that are numbers."""
    from pyarrow import compute as pc

    points = pc.replace_substring(cells, ",", ".", max_replacements=1)
    return pc.if_else(pc.match_substring_regex(cells, COMMA), points, cells)


def _match(cells: Cells, pattern: str) -> Bools:
    from pyarrow import compute as pc

    found: Any = pc.match_substring_regex(cells, pattern).fill_null(False)
    return found.to_numpy(zero_copy_only=False)


def _find(chosen: Bools, cells: Cells, place: Place) -> Cell | None:
    """Return the first chosen cell."""
    if not chosen.any():
        return None
    row = int(chosen.argmax())
    return Cell(str(cells[row].as_py()), Place(place.file, place.row + row))
