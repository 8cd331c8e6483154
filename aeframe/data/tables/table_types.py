"""Types of a table's columns, decided by the look of all of their cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from aeframe.core.errors import Problem, shorten
from aeframe.data.table_cells import DATE
from aeframe.data.table_schema import FALSE_TRUE, ZERO_ONE, Column, Unit
from aeframe.data.table_words import write_type
from aeframe.data.tables.table_looks import MOST_TEXTS, Cell, Look, Place

MOST_CATEGORIES = 100
"""Categories of a column that is not declared categorical."""
NEARLY = 2.0**10
"""Numbers that are so much larger than their range are stored as differences, for float32 has 24 bits."""
EXACT = 2**24  # whole numbers up to here are exact in float32
DIFFERENT = "all texts differ"
TWO_VALUES = (("false", "true"), ("no", "yes"), ("0", "1"))
UNITS: tuple[Unit, ...] = ("D", "s", "ms")
READINGS = {"ymd": "year, month, day", "dmy": "day, month, year", "mdy": "month, day, year"}
Wanted = Literal["numeric", "boolean", "categorical", "date", "dmy", "mdy", "count"]


class LeftOut(NamedTuple):
    """A column that is not used, and why. type: the one to write to use it, if there is one."""

    name: str
    reason: str
    type: str = ""


class Misfit(Exception):  # noqa: N818  (of a column, not of the program)
    """A column whose type cannot be decided, or that is not of the given type."""

    def __init__(self, what: str, remedy: str, place: Place | None = None) -> None:
        super().__init__(what)
        self.what, self.remedy, self.place = what, remedy, place


@dataclass(frozen=True)
class Typing:
    """How columns get their types. types: those that the user gave. describe: names the place of a cell."""

    types: Mapping[str, str]
    describe: Callable[[Place], str]
    where: str

    def decide(self, name: str, look: Look) -> Column | LeftOut | Problem:
        """Decide the type of a column, or why it is left out, or what is wrong with it."""
        wanted = self.types.get(name)
        try:
            if look.present == 0:
                return LeftOut(name, "empty")
            found = self._follow(name, look, wanted) if wanted else self._choose(name, look)
        except Misfit as misfit:
            place = "" if misfit.place is None else f", {self.describe(misfit.place)}"
            return Problem(
                self.where, f"column {shorten(name)}{place}: {misfit.what}", misfit.remedy
            )
        if isinstance(found, Column) and (value := find_constant(look, found)) is not None:
            return LeftOut(name, f"always {shorten(value, 40)}")
        return found

    def _choose(self, name: str, look: Look) -> Column | LeftOut:
        if look.type == "boolean":
            return Column(name, "boolean", FALSE_TRUE)
        if look.type == "date" or (look.is_text and look.orders):
            return _make_date(name, look)
        if look.are_numbers or not look.is_text:
            if look.count_rows:
                return LeftOut(name, "row numbers", "numeric")
            if look.is_whole and (look.low, look.high) == (0, 1):
                return Column(name, "boolean", ZERO_ONE)
            return _make_number(name, look)
        _refuse_mixture(name, look)
        if look.texts is None:
            return LeftOut(name, f"more than {MOST_TEXTS:,} different texts")
        if (two := find_two_values(look)) is not None:
            return Column(name, "boolean", two)
        if len(look.texts) == look.present and look.present > 2:
            return LeftOut(name, DIFFERENT, "categorical")
        if len(look.texts) > MOST_CATEGORIES:
            return LeftOut(name, f"{len(look.texts):,} different texts", "categorical")
        return _make_categorical(name, look)

    def _follow(self, name: str, look: Look, wanted: str) -> Column:
        """Make a column of the given type. Raises Misfit for a cell that does not fit."""
        if wanted in ("numeric", "count"):
            column = _make_number(name, look)
            if wanted == "numeric":
                return column
            if look.low < 0 or not look.is_whole:
                number = f"{look.low:g}" if look.low < 0 else "a fraction"
                raise Misfit(
                    f"holds {number}, and counts are 0, 1, 2, ...", _write(name, "numeric")
                )
            return Column(name, "count", integer=True)
        if wanted == "boolean":
            return Column(name, "boolean", _require_two_values(name, look))
        if wanted == "categorical":
            if look.texts is None:
                what = f"has more than {MOST_TEXTS:,} different values, too many for categories"
                raise Misfit(what, _drop(name))
            return _make_categorical(name, look)
        return _make_date(name, look, None if wanted == "date" else wanted)


def find_constant(look: Look, column: Column) -> str | None:
    """Return the only value of a column, or None if it has several."""
    if column.kind in ("numeric", "count"):
        return f"{look.low:g}" if look.low == look.high else None
    if column.kind == "date":
        low, high = look.days[column.order or "ymd"]
        return "one date" if low == high else None
    if look.type == "boolean" and look.texts is not None and not look.texts:
        return None if look.low < look.high else str(bool(look.low))
    texts = look.texts or {}
    different = {text.lower() for text in texts} if column.kind == "boolean" else texts
    return next(iter(texts)) if len(different) == 1 else None


def find_two_values(look: Look) -> tuple[str, str] | None:
    """Return the texts of false and true, or None if the texts are no such pair."""
    texts = {text.lower(): text for text in reversed(look.texts or {})}
    for pair in TWO_VALUES:
        if set(texts) == set(pair):
            return texts[pair[0]], texts[pair[1]]
    return None


def _require_two_values(name: str, look: Look) -> tuple[str, str]:
    if look.type == "boolean":
        return FALSE_TRUE
    if (two := find_two_values(look)) is not None:
        return two
    known = sorted(look.texts or ())
    if not 1 <= len(known) <= 2:
        listed = f": {', '.join(map(shorten, known[:3]))}, ..." if known else ""
        raise Misfit(
            f"has more than the two values of a boolean{listed}", _write(name, "categorical")
        )
    return known[0], known[-1]


def _make_number(name: str, look: Look) -> Column:
    """Make a numeric column. Raises Misfit for a text, a date, or an infinite number."""
    if look.type in ("boolean", "date"):
        raise Misfit(f"holds {look.type}s", f"Leave out dataset.types.{name}.")
    if (cell := look.first_other) is not None:
        raise Misfit(f"{_quote(cell)} is no number", f"Correct it, or {_lower(_write(name, 'categorical'))}",
                     cell.place)  # fmt: skip
    if (cell := look.first_infinite) is not None:
        what = f"{_quote(cell)} is beyond the range of float32"
        raise Misfit(what, f"Correct it, or {_lower(_drop(name))}", cell.place)
    _refuse_two_decimals(name, look)
    high = max(abs(look.low), abs(look.high))
    integer = look.is_whole and (look.type == "integer" or (look.is_text and look.is_plain))
    shifts = high > NEARLY * (look.high - look.low) or (integer and high > EXACT)
    origin = float(math.floor(look.low)) if shifts and look.low < look.high else 0.0
    return Column(name, "numeric", integer=integer, origin=origin)


def _refuse_two_decimals(name: str, look: Look) -> None:
    """Raise Misfit for points and commas in one column, and for commas that may separate thousands."""
    point, comma = look.first_point, look.first_comma
    if point is not None and comma is not None:
        what = f"{_quote(comma)} has a decimal comma, and {_quote(point)} a decimal point"
        raise Misfit(what, "Write all numbers alike.", comma.place)
    if comma is not None and look.only_thousands and look.decimal == "auto":
        points, whole = comma.text.replace(",", "."), comma.text.replace(",", "")
        what = f"{_quote(comma)} may be {points} or {whole}"
        remedy = "Write dataset.decimal=comma for the first, or remove the commas for the second."
        raise Misfit(what, remedy, comma.place)


def _make_categorical(name: str, look: Look) -> Column:
    texts = look.texts or {}
    whole = all(text.removeprefix("-").isdecimal() and str(int(text)) == text for text in texts)
    integer = look.type == "integer" or (look.is_text and whole)
    return Column(name, "categorical", tuple(sorted(texts, key=int if integer else str)), integer)


def _make_date(name: str, look: Look, order: str | None = None) -> Column:
    """Make a column of dates. Raises Misfit for another cell, and for two possible orders."""
    if look.type == "date":
        return Column(name, "date", origin=math.floor(look.days["ymd"][0]), unit=UNITS[look.unit])
    if not look.is_text:
        raise Misfit("holds numbers, no dates", _write(name, "numeric"))
    if order is None:
        _refuse_unclear(name, look)
        order = next(iter(look.orders), max(look.dated, key=look.dated.__getitem__))
    if order not in look.orders:
        cell = look.first_undated.get(order) or look.first_other or look.first_number
        assert cell is not None
        what = f"{_quote(cell)} is no date written as {READINGS[order]}"
        raise Misfit(what, "Correct it, or leave out the type of this column.", cell.place)
    return Column(
        name, "date", origin=math.floor(look.days[order][0]), order=order, unit=UNITS[look.unit]
    )


def _refuse_unclear(name: str, look: Look) -> None:
    """Raise Misfit for dates that are dates in two orders, such as 03/04/2020."""
    if "dmy" in look.orders and "mdy" in look.orders and look.days["dmy"] != look.days["mdy"]:
        both = " or ".join(READINGS[order] for order in ("dmy", "mdy"))
        raise Misfit(f"the dates may be {both}, and no cell tells which",
                     f"{_write(name, 'dmy')[:-1]}, or {write_type(name, 'mdy')}.")  # fmt: skip


def _refuse_mixture(name: str, look: Look) -> None:
    """Raise Misfit for numbers beside texts, and for dates in several orders."""
    remedy = f"Correct it, or {_lower(_write(name, 'categorical'))}"
    dated = {order: n for order, n in look.dated.items() if n}
    most = max(dated, key=dated.__getitem__, default="ymd")
    if dated and sum(dated.values()) >= look.present / 2:
        dated_cell = look.first_undated[most]
        what = f"{_quote(dated_cell)} is no date written as {READINGS[most]}, as others are"
        raise Misfit(
            what, f"Write all dates as 2026-01-31, or {_lower(_drop(name))}", dated_cell.place
        )
    cell = look.first_other
    if cell is not None and look.numbers >= look.present / 2:
        number = look.first_number
        assert number is not None
        hint = " Thousands have no separators." if _has_separators(cell) else ""
        what = f"{_quote(cell)} is no number, and {look.numbers:,} other cells are, such as {number.text}"
        raise Misfit(what, remedy + hint, cell.place)


def _has_separators(cell: Cell) -> bool:
    digits = cell.text.translate(str.maketrans("", "", ",.' "))
    return digits.isdecimal() and any(sign in cell.text for sign in ",.' ")


def _quote(cell: Cell) -> str:
    return shorten(repr(cell.text), 60)


def _write(name: str, kind: str) -> str:
    return f"Write {write_type(name, kind)}."


def _drop(name: str) -> str:
    return f"Write 'dataset.drop=[{name}]'."


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def list_type_problems(types: Mapping[str, str]) -> list[Problem]:
    """List the types that do not exist."""
    known = get_args(Wanted)
    return [
        Problem(
            f"dataset.types.{shorten(name)}={shorten(kind)}",
            "unknown type",
            f"Write one of {', '.join(known)}.",
        )
        for name, kind in types.items()
        if kind not in known
    ]


assert set(READINGS) == set(DATE)
