"""Results of a verb as tables: CSV or Parquet, written in batches."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aeframe.cli.verbs.outputs import replace_file
from aeframe.cli.verbs.table_inputs import Part, TableInput
from aeframe.core.shares import format_share
from aeframe.data.table_cells import require_tables, write_texts
from aeframe.data.table_schema import Column, Schema
from aeframe.runs.column_scores import ColumnScores, score_rows
from aeframe.runs.frames import fill_columns, require_columns
from aeframe.runs.model import Model

ENDINGS = (".csv", ".parquet")
FAULTS = 3  # columns that are named for each row
Write = Callable[[Any], None]


def is_table_path(out: Path) -> bool:
    """Check whether a result is to be a table."""
    return out.suffix.lower() in ENDINGS


def require_suitable(out: Path, model: Model) -> None:
    """Raise UserError if the result is to be a table, and the samples of the model are no rows of one."""
    if is_table_path(out):
        require_columns(model.description.data, f"--out {out}")


def write_parts(out: Path, parts: Iterable[dict[str, Any]]) -> None:
    """Write columns by name, batch by batch, as .csv or .parquet. The file appears when it is complete."""
    import pyarrow as pa

    require_tables(f"--out {out}")
    opened = _open_csv if out.suffix.lower() == ".csv" else _open_parquet
    tables = (pa.table(part) for part in parts if len(next(iter(part.values()))))
    first = next(tables)  # an error comes before the file is made
    with replace_file(out) as file, opened(file, first.schema) as write:
        write(first)
        for table in tables:
            write(table.cast(first.schema))


@contextmanager
def _open_parquet(file: BinaryIO, schema: Any) -> Iterator[Write]:
    from pyarrow import parquet

    with parquet.ParquetWriter(file, schema) as writer:
        yield writer.write_table


@contextmanager
def _open_csv(file: BinaryIO, schema: Any) -> Iterator[Write]:
    """Write texts in quotes where they need some, True and False, and dates as 2026-01-31."""
    import pyarrow as pa
    from pyarrow import compute as pc
    from pyarrow import csv as pa_csv

    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    csv.writer(text).writerow(schema.names)
    text.detach()
    texts = [pa.string() if pa.types.is_boolean(one.type) else one.type for one in schema]
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    own = pa.schema(list(zip(schema.names, texts, strict=True)))
    with pa_csv.CSVWriter(file, own, write_options=options) as writer:

        def write(table: Any) -> None:
            columns = [
                pc.if_else(column, "True", "False") if pa.types.is_boolean(column.type) else column
                for column in table.columns
            ]
            writer.write_table(pa.table(columns, schema=own))

        yield write


def write_codes(out: Path, given: TableInput) -> None:
    """Write the id, the label and the codes of each row."""
    write_parts(out, (_keep(given, part) | _encode(given, part) for part in given.read()))


def _encode(given: TableInput, part: Part) -> dict[str, Any]:
    codes = given.model.encode(part.x) if len(part.x) else np.empty((0, given.model.latent_dim))
    return {f"z{i}": np.ascontiguousarray(codes[:, i]) for i in range(codes.shape[1])}


def _keep(given: TableInput, part: Part) -> dict[str, Any]:
    """Return the columns of the id and the label."""
    kept = [name for name in (given.id, given.label) if name is not None]
    return {name: part.cells[name] for name in kept}


def write_reconstructions(out: Path, given: TableInput, *, only_gaps: bool) -> None:
    """Write the table with reconstructed cells, or with reconstructions in place of gaps alone.

    Columns that the model does not use stay as they are.
    """
    has_types = all(file.has_types for file in given.files)

    def restore(part: Part) -> dict[str, Any]:
        made = given.model.reconstruct(part.x) if len(part.x) else part.x
        columns = {column.name: column for column in given.schema.columns}
        found = (
            fill_columns(part.cells, made, given.schema, given.where)
            if only_gaps
            else dict(given.schema.decode(made))
        )
        return {
            name: convert_like(found[name], columns[name], part.cells[name] if has_types else None)
            if name in found
            else part.cells[name]
            for name in part.cells.column_names
        }

    write_parts(out, (restore(part) for part in given.read(others=True)))


def convert_like(values: Any, column: Column, cells: Any = None) -> Any:
    """Convert a decoded Series to Arrow, in the type of the file's cells; None: the file has no types."""
    import pyarrow as pa

    made = pa.array(values, from_pandas=True)
    kind = None if cells is None else cells.type
    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_day = pa.types.is_timestamp(made.type) and column.unit == "D"
    day = made.cast(pa.date32()) if is_day else made
    if kind is None:
        return day
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return write_texts(day).cast(kind)
    if pa.types.is_integer(kind):
        if not pa.types.is_integer(made.type):
            return made
        ends = np.iinfo(kind.to_pandas_dtype())
        low, high = max(ends.min, -(2**62)), min(ends.max, 2**62)
        gaps = made.is_null().to_numpy(zero_copy_only=False)
        whole = made.fill_null(0).to_numpy().clip(low, high)
        return pa.array(whole, kind, mask=gaps)
    is_same = pa.types.is_temporal(kind) == pa.types.is_temporal(made.type)
    return made.cast(kind, safe=False) if is_same and not pa.types.is_decimal(kind) else made


def write_made(out: Path, blocks: Iterable[np.ndarray], schema: Schema) -> None:
    """Write samples that a model made as a table."""
    columns = [column for column in schema.columns if not column.of]

    def convert(x: np.ndarray) -> dict[str, Any]:
        frame = schema.decode(x)
        return {column.name: convert_like(frame[column.name], column) for column in columns}

    write_parts(out, map(convert, blocks))


def write_scores(out: Path, given: TableInput, limit: float) -> tuple[np.ndarray, list[str]]:
    """Write the score of each row and the columns at fault, in the order of the rows.

    Returns the scores, and a sentence on each of the rows with the largest ones.
    """
    scores, worst = list[np.ndarray](), list[tuple[float, str]]()
    known = given.model.description.errors

    def score() -> Iterator[dict[str, Any]]:
        for part in filter(lambda part: len(part.x), given.read()):
            found = score_rows(given.model, part.x)
            named, faults = _name_rows(given, part), find_faults(given.schema, part.x, found)
            scores.append(found.scores)
            for i in np.argsort(-found.scores, kind="stable")[:5].tolist():
                name = " ".join(str(column[i]) for column in named.values())
                mark = "  outlier" if found.scores[i] > limit else ""
                worst.append((float(found.scores[i]), f"{name}{mark}: {_tell(faults, i)}"))
            worst.sort(key=lambda one: -one[0])
            del worst[5:]
            own = {
                "score": found.scores,
                "percentile": known.find_percentiles(found.scores).round(2),
                "is_outlier": found.scores > limit,
            }
            yield named | _keep(given, part) | own | faults

    write_parts(out, score())
    return np.concatenate(scores), [f"{score:.5g}  {told}" for score, told in worst]


def _name_rows(given: TableInput, part: Part) -> dict[str, Any]:
    """Return the columns that name the rows: the id or the row, and of several files also the file."""
    rows = np.arange(part.start, part.start + len(part.x))
    file = {"file": np.full(len(rows), part.file)} if len(given.files) > 1 else {}
    return file | ({"row": rows} if given.id is None else {given.id: part.cells[given.id]})


def find_faults(schema: Schema, x: np.ndarray, made: ColumnScores) -> dict[str, Any]:
    """Find the columns with the largest shares of each row's score, with expected and seen values."""
    import pyarrow as pa

    count = min(FAULTS, made.shares.shape[1])
    order = np.argsort(-made.shares, axis=1, kind="stable")[:, :count]
    total = np.maximum(made.shares.sum(1), np.finfo(np.float32).tiny)
    found = dict[str, Any]()
    for k in range(count):
        name, expected, seen = (np.full(len(x), None, object) for _ in range(3))
        share = made.shares[np.arange(len(x)), order[:, k]] / total
        for i, (column, place) in enumerate(zip(schema.columns, schema.slices, strict=True)):
            rows = np.flatnonzero((order[:, k] == i) & (share > 0))
            if rows.size:
                name[rows] = column.name
                expected[rows] = _write_values(column, made.restored[rows, place])
                seen[rows] = _write_values(column, x[rows, place])
        found |= {f"column_{k + 1}": pa.array(name, pa.string()), f"share_{k + 1}": share.round(4)}
        found |= {f"expected_{k + 1}": pa.array(expected, pa.string())}
        found |= {f"seen_{k + 1}": pa.array(seen, pa.string())}
    return found


def _write_values(column: Column, x: np.ndarray) -> list[str]:
    """Write the values of a column as short texts."""
    values = column.decode(x)
    if column.kind == "date" and column.unit == "D":
        return list(values.dt.strftime("%Y-%m-%d"))
    return [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def _tell(faults: dict[str, Any], row: int) -> str:
    """Tell the columns at fault in a row."""
    parts = [
        f"{faults[f'column_{k}'][row]} is {faults[f'seen_{k}'][row]}, expected "
        f"{faults[f'expected_{k}'][row]} ({format_share(faults[f'share_{k}'][row])})"
        for k in range(1, FAULTS + 1)
        if f"column_{k}" in faults and faults[f"column_{k}"][row].is_valid
    ]
    return "; ".join(parts) or "no error"
