"""Survey of a table: all cells are looked at once, and each column gets its type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from aeframe.core.errors import ConfigError, Problem, UserError, find_closest, shorten
from aeframe.data.classes import UNLABELED
from aeframe.data.table_cells import WHOLE, get_cells
from aeframe.data.table_schema import LISTED, ZERO_ONE, Column, Schema
from aeframe.data.table_words import write_type
from aeframe.data.tables.table_encoding import Encoder
from aeframe.data.tables.table_file import TableFile, TextFile
from aeframe.data.tables.table_looks import Look, Place, make_look
from aeframe.data.tables.table_paths import Paths, Reading, find_files, list_names, open_files
from aeframe.data.tables.table_types import LeftOut, Typing, list_type_problems

NAMES = ("drop", "columns")


@dataclass(frozen=True)
class Survey:
    """What is known of a table when all cells were looked at.

    files: with the rows of each. schema: of the columns that are used. left_out: columns that cannot be used.
    gaps: of the columns that have some. classes: texts of the labels. commas: columns with decimal commas.
    """

    files: tuple[TableFile, ...]
    rows: tuple[int, ...]
    schema: Schema
    left_out: tuple[LeftOut, ...]
    gaps: Mapping[str, int]
    classes: tuple[str, ...]
    commas: frozenset[str]


def survey(paths: Paths, reading: Reading) -> Survey:
    """Look at all cells of the training data, once in a process. Raises UserError with all mistakes."""
    stamps = tuple(map(_stamp, find_files(paths, "path")))
    return _survey(paths if isinstance(paths, str) else tuple(paths), reading, stamps)


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # is reported when it is opened
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def open_split(
    paths: Paths, option: str, schema: Schema, reading: Reading, label: str | None
) -> Encoder:
    """Open other files with the columns of training, and look at their cells. Returns what encodes them.

    option: of the files, for messages. label: the column of classes, if the files have it.
    """
    files = open_files(paths, option, reading)
    for file in files:
        schema.find_columns(file.names, file.where)
    label = label if label in files[0].names else None
    names = [*schema.names, *([label] if label is not None else [])]
    looks, rows = look_at(files, names, replace(reading, label=label))
    if not sum(rows):
        raise UserError(files[0].where, "has no rows", f"Leave out dataset.{option}.")
    commas = frozenset(name for name in schema.names if looks[name].commas)
    classes = () if label is None else list_classes(looks[label])
    return Encoder(files, tuple(rows), schema, commas, label, classes)


@lru_cache(maxsize=8)
def _survey(paths: Paths, reading: Reading, stamps: tuple[object, ...]) -> Survey:
    files = open_files(paths, "path", reading)
    if found := _list_unknown_names(files[0], reading):
        raise ConfigError(found)
    if not (names := _choose_names(files[0].names, reading)):
        what = "no column is left to be used"
        raise UserError(files[0].where, what, "Name some by dataset.columns, or drop fewer.")
    label = [reading.label] if reading.label is not None else []
    looks, rows = look_at(files, [*names, *label], reading)
    if not sum(rows):
        raise UserError(files[0].where, "has no rows", "Give at least 3.")

    def describe(place: Place) -> str:
        file = files[place.file]
        text = file.describe_row(place.row)
        return text if len(files) == 1 else f"{file.path.name}, {text}"

    typing = Typing(dict(reading.types), describe, files[0].where)
    decided = [typing.decide(name, looks[name]) for name in names]
    problems = _list_type_problems(files, names, decided, looks)
    columns = [one for one in decided if isinstance(one, Column)]
    problems += find_decimal_problems(columns, looks, files[0].where)
    if problems:
        raise ConfigError(problems)
    left_out = tuple(one for one in decided if isinstance(one, LeftOut))
    if not columns:
        listed = "; ".join(f"{one.name}: {one.reason}" for one in left_out[:LISTED])
        remedy = next(
            (f"Write {write_type(o.name, o.type)}." for o in left_out if o.type), "Give others."
        )
        raise UserError(files[0].where, f"no column can be used ({shorten(listed)})", remedy)
    gaps = {column.name: looks[column.name].gaps for column in columns if looks[column.name].gaps}
    if reading.indicator:
        columns += [mark_gaps(name, columns) for name in gaps]
    classes = list_classes(looks[reading.label]) if reading.label else ()
    commas = frozenset(
        column.name for column in columns if not column.of and looks[column.name].commas
    )
    return Survey(files, tuple(rows), Schema(tuple(columns)), left_out, gaps, classes, commas)


def _list_type_problems(
    files: Sequence[TableFile],
    names: Sequence[str],
    decided: Sequence[Column | LeftOut | Problem],
    looks: Mapping[str, Look],
) -> list[Problem]:
    """List what is wrong with the columns; a second line of names is one mistake."""
    problems = {
        name: one for name, one in zip(names, decided, strict=True) if isinstance(one, Problem)
    }
    others = {name: cell for name in problems if (cell := looks[name].first_other) is not None}
    second = [name for name, cell in others.items() if cell.place == (0, 0)]
    if len(second) < 2 or len(second) < len(problems):
        return list(problems.values())
    line = files[0].describe_row(0)
    what = f"{line} holds texts in columns of numbers ({list_names(second)})"
    return [Problem(files[0].where, what, "If it is a second line of names, remove it.")]


def mark_gaps(name: str, columns: Iterable[Column]) -> Column:
    """Make the boolean column that marks the gaps of another one."""
    taken, own = {column.name for column in columns}, f"{name} is missing"
    while own in taken:
        own += "!"
    return Column(own, "boolean", ZERO_ONE, of=name)


def _list_unknown_names(file: TableFile, reading: Reading) -> list[Problem]:
    """List the names in options that the table does not have, and options that contradict each other."""
    given = [
        *((f"dataset.types.{name}", name) for name, _ in reading.types),
        *((f"dataset.{key}={n}", n) for key in ("id", "label") if (n := getattr(reading, key)) is not None),
        *((f"dataset.{key}={name}", name) for key in NAMES for name in getattr(reading, key) or ()),
    ]  # fmt: skip
    found = list_type_problems(dict(reading.types))
    for where, name in given:
        if name not in file.names:
            close = find_closest(name, file.names)
            remedy = f"Did you mean {close}?" if close else f"It has {list_names(file.names)}."
            found.append(Problem(where, f"{file.path.name} has no column {shorten(name)}", remedy))
    unnamed = [number for number, name in enumerate(_written_names(file), 1) if not name]
    if len(unnamed) > 1:
        listed = " and ".join(map(str, unnamed[:2]))
        what = f"line 1: columns {listed} have no name"
        found.append(Problem(file.where, what, "Give each column a name."))
    return found


def _written_names(file: TableFile) -> tuple[str, ...]:
    return file.dialect.names if isinstance(file, TextFile) else file.names


def _choose_names(names: Sequence[str], reading: Reading) -> list[str]:
    """Choose the columns that may be used."""
    others = {reading.id, reading.label, *reading.drop}
    wanted = names if reading.columns is None else reading.columns
    return [name for name in names if name in set(wanted) and name not in others]


def look_at(
    files: Sequence[TableFile], names: Sequence[str], reading: Reading
) -> tuple[dict[str, Look], list[int]]:
    """Look at all cells of some columns. Returns the looks, and the rows of each file."""
    types = dict(reading.types)
    looks, counts = dict[str, Look](), list[int]()
    for number, file in enumerate(files):
        row = 0
        for batch in file.read_batches(names):
            for name in names:
                cells = get_cells(batch, name, file.where)
                if name not in looks:
                    looks[name] = make_look(cells, reading.decimal)
                needs = name == reading.label or types.get(name) in ("categorical", "boolean")
                _require_same_type(looks[name], cells, name, file)
                looks[name].add(cells, Place(number, row), needs_texts=needs)
            row += len(batch)
        counts.append(row)
    return looks, counts


def _require_same_type(look: Look, cells: Any, name: str, file: TableFile) -> None:
    """Raise UserError for a column that has another type in an earlier file."""
    other = make_look(cells, look.decimal)
    kinds = [(one.is_text, one.type.replace("integer", "number")) for one in (look, other)]
    if kinds[0] != kinds[1] and cells.null_count < len(cells):
        what = (
            f"column {shorten(name)} holds {cells.type} here, and something else in an earlier file"
        )
        raise UserError(file.where, what, "Save it with one type in all files.")


def find_decimal_problems(
    columns: Iterable[Column], looks: Mapping[str, Look], where: str
) -> list[Problem]:
    """Find columns with decimal points beside columns with decimal commas."""
    numeric = [column.name for column in columns if column.kind in ("numeric", "count")]
    commas = [name for name in numeric if looks[name].first_comma is not None]
    points = [name for name in numeric if looks[name].first_point is not None]
    if not commas or not points:
        return []
    comma, point = looks[commas[0]].first_comma, looks[points[0]].first_point
    assert comma is not None
    assert point is not None
    what = (
        f"column {shorten(commas[0])} has decimal commas ({comma.text!r}), and column {shorten(points[0])} "
        f"decimal points ({point.text!r})"
    )
    return [
        Problem(
            where, what, "Write all numbers alike, or say which is right: dataset.decimal=comma."
        )
    ]


def list_classes(look: Look) -> tuple[str, ...]:
    """List the texts of the labels in order, numbers by size. Raises UserError for too many."""
    if look.texts is None:
        what = "has too many different values for labels"
        raise UserError("dataset.label", what, "Name a column of classes, or write dataset.id.")
    texts = list(dict.fromkeys(re.sub(WHOLE, r"\1", text) for text in look.texts))
    whole = all(text.removeprefix("-").isdecimal() for text in texts)
    texts = texts if whole else list(look.texts)
    known = sorted(texts, key=int) if whole else sorted(texts)
    return (*known, *([UNLABELED] if look.gaps else ()))
