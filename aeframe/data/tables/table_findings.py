"""What was found in a table, in sentences for the first lines of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from aeframe.core.errors import shorten
from aeframe.data.table_schema import LISTED, Column, Kind
from aeframe.data.table_words import write_type
from aeframe.data.tables.table_file import TextFile
from aeframe.data.tables.table_paths import list_names
from aeframe.data.tables.table_survey import Survey
from aeframe.data.tables.table_types import DIFFERENT, LeftOut


def list_findings(found: Survey) -> list[str]:
    """List the types of the columns, those that are left out, the gaps, and how a text file was read."""
    return [
        f"Columns: {'; '.join(_list_kinds(found))}.",
        *_list_left_out(found),
        *_list_gaps(found),
        *_list_guesses(found),
    ]


def _list_kinds(found: Survey) -> Iterator[str]:
    for kind in get_args(Kind):
        columns = [one for one in found.schema.columns if one.kind == kind and not one.of]
        if columns:
            yield f"{len(columns):,} {kind} ({list_names(map(_describe, columns))})"


def _describe(column: Column) -> str:
    return (
        f"{shorten(column.name, 40)}: {column.width:,}"
        if column.kind == "categorical"
        else column.name
    )


def _list_left_out(found: Survey) -> Iterator[str]:
    if not found.left_out:
        return
    listed = [f"{shorten(one.name, 40)} ({one.reason})" for one in found.left_out[:LISTED]]
    more = len(found.left_out) - LISTED
    some = f" and {more:,} more" if more > 0 else ""
    remedies = [_advise(one) for one in found.left_out if one.type]
    yield " ".join([f"Left out: {', '.join(listed)}{some}.", *remedies[:1]])


def _advise(one: LeftOut) -> str:
    """Say how to use a column that was left out."""
    if one.reason == DIFFERENT and one.name.isascii():
        return f"To name the rows by it: dataset.id={one.name}."
    return f"To use it: {write_type(one.name, one.type)}."


def _list_gaps(found: Survey) -> Iterator[str]:
    if not found.gaps:
        return
    total = sum(found.gaps.values())
    cells = sum(found.rows) * len(found.schema.names)
    most = sorted(found.gaps, key=found.gaps.__getitem__, reverse=True)
    listed = list_names(f"{shorten(name, 40)}: {found.gaps[name]:,}" for name in most)
    yield f"Gaps: {total:,} of {cells:,} cells ({listed})."


def _list_guesses(found: Survey) -> Iterator[str]:
    texts = [file for file in found.files if isinstance(file, TextFile)]
    for file in texts:
        if file.dialect.is_guessed:
            name = file.dialect.encoding
            yield f"{file.path.name} is not UTF-8, and is read as {name}. Another: dataset.encoding=NAME."
            break
    for file in texts:
        if not file.dialect.has_header:
            yield f"{file.path.name} has no line of names: its columns are called 1, 2, 3, ..."
            break
    if found.commas:
        yield f"Decimal commas: {list_names(sorted(found.commas))}."
