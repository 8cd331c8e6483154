"""Tables given to a verb: CSV, TSV or Parquet, read in batches for a model of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aeframe.cli.verbs.given import make_check
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.core.table_names import is_table
from aeframe.data.cell_error import CellError
from aeframe.data.images.image_messages import note
from aeframe.data.table_cells import get_cells, require_tables, write_texts
from aeframe.data.table_schema import Schema
from aeframe.data.tables.table_file import TableFile, open_table
from aeframe.data.tables.table_looks import replace_commas
from aeframe.data.tables.table_paths import Reading, list_names
from aeframe.data.tables.table_survey import find_decimal_problems, look_at
from aeframe.runs.frames import encode_frames
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import SampleError

REMEDY = "Write the table as the training data was written."


class Part(NamedTuple):
    """A batch of rows: the cells of the file, a table of Arrow, and the samples [n, D]. start: its first row.

    file: its name.
    """

    cells: Any
    x: np.ndarray
    file: str
    start: int


@dataclass(frozen=True)
class TableInput:
    """Rows of tables for a model. id, label: the columns in the tables, or None. count: the number of rows.

    commas: columns with decimal commas.
    """

    where: str
    files: tuple[TableFile, ...]
    model: Model
    id: str | None
    label: str | None
    count: int
    commas: frozenset[str]

    @property
    def schema(self) -> Schema:
        """The columns of the model."""
        assert self.model.description.data.columns is not None
        return self.model.description.data.columns

    def read(self, *, others: bool = False) -> Iterator[Part]:
        """Iterate over all rows, in batches. others: with the columns that the model does not use.

        Raises UserError that names the file, the line and the column of a cell that does not fit.
        """
        kept = [name for name in (self.id, self.label) if name is not None]
        for file in self.files:
            names = file.names if others else list(dict.fromkeys([*kept, *self.schema.names]))
            row = 0
            for batch in file.read_batches(names):
                cells = batch
                for name in self.commas.intersection(names):
                    cells = cells.set_column(names.index(name), name, replace_commas(cells[name]))
                yield Part(cells, self._encode(cells, file, row), file.where, row)
                row += len(batch)

    def _encode(self, cells: Any, file: TableFile, start: int) -> np.ndarray:
        if not len(cells):
            return np.empty((0, self.schema.width), np.float32)
        try:
            x: np.ndarray = encode_frames(cells, self.model.description.data, file.where)
            make_check(self.model)(x)
        except CellError as error:
            problems = error.list_problems(file.describe_row, start)
            raise ConfigError(
                [
                    replace(one, remedy=REMEDY) if "write dataset." in one.remedy else one
                    for one in problems
                ]
            ) from error
        except SampleError as error:
            what = f"{file.describe_row(start + error.row)} {error.plain}"
            raise UserError(file.where, what, error.remedy) from error
        return x

    def blocks(self, n: int) -> Iterator[np.ndarray]:
        """Iterate over the samples, at most n at a time."""
        for part in self.read():
            for start in range(0, len(part.x), n):
                yield part.x[start : start + n]

    def read_texts(self, column: str | None) -> list[str] | None:
        """Read a column as texts; None for no column."""
        if column is None:
            return None
        texts = list[str]()
        for file in self.files:
            for batch in file.read_batches([column]):
                found = write_texts(get_cells(batch, column, file.where)).to_pylist()
                texts += ["" if text is None else text for text in found]
        return texts


def are_tables(words: Sequence[str], model: Model) -> bool:
    """Check whether the words name tables, for a model of a table."""
    return model.description.data.columns is not None and all(map(is_table, words))


def open_tables(words: Sequence[str], model: Model) -> TableInput:
    """Open tables for a model of a table. Raises UserError for other columns, and tells unused ones."""
    require_tables(words[0])
    dataset = as_mapping(model.description.config.get("dataset"))
    options = {key: dataset.get(key, "auto") for key in ("delimiter", "encoding", "decimal")}
    reading, schema = Reading(**options), model.description.data.columns
    assert schema is not None
    files = [_open(word, reading) for word in words]
    for file in files:
        schema.find_columns(file.names, file.where)
    own_id, label = (_find_kept(dataset.get(key), files) for key in ("id", "label"))
    _tell_unused(files[0], {*schema.names, own_id, label, *dataset.get("drop", ())})
    numbers = [one for one in schema.columns if one.kind in ("numeric", "count")]
    looked = [column.name for column in numbers] or list(schema.names[:1])
    looks, rows = look_at(files, looked, reading)
    if problems := find_decimal_problems(numbers, looks, words[0]) if sum(rows) else []:
        raise ConfigError(
            [replace(problem, remedy="Write all numbers alike.") for problem in problems]
        )
    if not sum(rows):
        raise UserError(words[0], "has no rows", "Give at least one.")
    commas = frozenset(name for name, look in looks.items() if look.commas)
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    return TableInput(where, tuple(files), model, own_id, label, sum(rows), commas)


def _open(word: str, reading: Reading) -> TableFile:
    path = Path(os.path.expanduser(word))
    try:
        file = open_table(path, word, delimiter=reading.delimiter, encoding=reading.encoding)
        _ = file.names
    except UserError as error:
        raise ConfigError(
            [replace(p, remedy=REMEDY) if "dataset." in p.remedy else p for p in error.problems]
        ) from error
    return file


def _find_kept(name: Any, files: Sequence[TableFile]) -> str | None:
    """Return the name of a column that is not trained on, if all files have it."""
    return name if isinstance(name, str) and all(name in file.names for file in files) else None


def _tell_unused(file: TableFile, known: set[Any]) -> None:
    if others := [name for name in file.names if name not in known]:
        what = (
            f"columns that the model does not use, as training left them out: {list_names(others)}"
        )
        note(Problem(file.where, what))
