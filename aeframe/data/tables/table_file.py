"""One file of a table: CSV, TSV or Parquet, read in batches of rows."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from aeframe.core.errors import UserError, build_read_error, describe_error, shorten
from aeframe.core.regular_files import IrregularError, require_regular
from aeframe.core.repeated import require_unique
from aeframe.core.table_names import ENDINGS, PARQUETS, is_table
from aeframe.data.tables.text_dialect import (
    SIGNS,
    WORDS,
    Delimiter,
    Dialect,
    find_dialect,
    open_text,
    read_records,
)

ROWS = 2**16  # of a batch of Parquet
BLOCK = 2**22  # bytes of a batch of text; a row has at most as many
INDEX = re.compile(r"__index_level_\d+__")  # an index that pandas adds to Parquet
DAMAGED = "Take an undamaged copy of the file, or save it again."


class TableFile(ABC):
    """A file of a table. where: the key and the file, for messages. names: of the columns, in order."""

    has_types: ClassVar[bool] = False
    """Whether the columns have types; else all cells are texts."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where

    @cached_property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns. Raises UserError for a file that is no table."""

    @property
    def options(self) -> list[str]:
        """How the file is read, as plain data."""
        return []

    @abstractmethod
    def read_batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Iterate over all rows, in tables of Arrow with these columns. Raises UserError."""

    @abstractmethod
    def describe_row(self, row: int) -> str:
        """Describe the place of a row (from 0) for a message."""


def open_table(
    path: Path, where: str, *, delimiter: Delimiter = "auto", encoding: str = "auto"
) -> TableFile:
    """Open a table by the ending of its name. Raises UserError for other files."""
    if path.is_dir():
        what, remedy = "is a folder", f"Name its files: dataset.path='{path}/*.csv'."
        raise UserError(where, what, remedy)
    try:
        require_regular(path)
    except FileNotFoundError:
        raise UserError(where, "no such file", "Write dataset.path=FILE.csv.") from None
    except (IrregularError, OSError) as error:
        raise build_read_error(where, error, "Give a file.") from error
    if not is_table(path.name):
        remedy = f"Give a file that ends in {', '.join(ENDINGS[:2])} or .parquet"
        if path.suffix.lower() in (".npy", ".npz"):
            remedy = f"Write dataset=array dataset.path={path}"
        elif path.suffix.lower() in (".xlsx", ".xls", ".ods"):
            remedy = "Save the sheet as CSV"
        raise UserError(where, "is no table that can be read", f"{remedy}.")
    if path.suffix.lower() in PARQUETS:
        return ParquetFile(path, where)
    return TextFile(path, where, delimiter, encoding)


class TextFile(TableFile):
    """A file of text, one row a line. All cells are texts."""

    def __init__(self, path: Path, where: str, delimiter: Delimiter, encoding: str) -> None:
        super().__init__(path, where)
        self._delimiter, self._encoding = delimiter, encoding

    @cached_property
    def dialect(self) -> Dialect:
        """How the file is written."""
        return find_dialect(self.path, self.where, self._encoding, self._delimiter)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(
            name or f"column {number}" for number, name in enumerate(self.dialect.names, 1)
        )

    @property
    def options(self) -> list[str]:
        return [self.dialect.encoding, self.dialect.delimiter]

    def read_batches(self, names: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import csv

        chosen = [f"f{self.names.index(name)}" for name in names]
        dialect = self.dialect
        reading = csv.ReadOptions(
            use_threads=False,  # so that the number of a bad row is known
            block_size=BLOCK,
            autogenerate_column_names=True,
            encoding=dialect.encoding,
        )
        parsing = csv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=dialect.has_quotes
        )
        converting = csv.ConvertOptions(
            column_types={f"f{i}": pa.string() for i in range(len(self.names))},
            include_columns=chosen,
            strings_can_be_null=False,
        )
        packed = "gzip" if self.path.suffix.lower() == ".gz" else None
        is_first = dialect.has_header
        try:
            with (
                pa.input_stream(str(self.path), compression=packed) as stream,
                csv.open_csv(stream, reading, parsing, converting) as reader,
            ):
                for batch in reader:
                    rows = batch.slice(1) if is_first else batch
                    is_first = False
                    yield pa.Table.from_batches([rows]).rename_columns(list(names))
        except pa.ArrowException as error:
            if (only := self._read_only_line(names)) is None:
                raise self._explain(error) from error
            yield only
        except (OSError, EOFError, UnicodeError) as error:
            raise build_read_error(self.where, error, DAMAGED) from error

    def _read_only_line(self, names: Sequence[str]) -> Any:
        """Read a file of one line without a line break, which pyarrow calls empty; None for other files."""
        import pyarrow as pa

        with open_text(self.path, self.dialect.encoding) as lines:
            records = [
                record for _, record in islice(read_records(lines, self.dialect.delimiter), 2)
            ]
        if len(records) != 1 or len(records[0]) != len(self.names):
            return None
        rows = records[self.dialect.has_header :]
        places = {name: self.names.index(name) for name in names}
        return pa.table(
            {name: pa.array([row[i] for row in rows], pa.string()) for name, i in places.items()}
        )

    def _explain(self, error: Exception) -> UserError:
        """Find the line that cannot be read."""
        with open_text(self.path, self.dialect.encoding) as lines:
            line, record = 0, list[str]()
            for line, record in read_records(lines, self.dialect.delimiter):  # noqa: B007
                if len(record) != len(self.names):
                    break
            else:
                return build_read_error(self.where, error, DAMAGED)
            is_open = lines.read(1) == "" and "\n" in record[-1]
        if is_open and record[-1].count("\n") > 1:
            what = f"line {line}: a quote is not closed"
            return UserError(self.where, what, 'Close it, or write "" for a quote within quotes.')
        have, all_ = len(record), len(self.names)
        what = f"line {line} has {have} cell{'s' if have > 1 else ''}, and line 1 has {all_}"
        sign = WORDS[self.dialect.delimiter]
        remedy = "Correct the line, or put texts that hold the delimiter into quotes"
        if all_ == 1 or have == 1:
            others = "|".join(word for word in SIGNS if word != sign)
            remedy = f"The delimiter is taken to be a {sign}: write dataset.delimiter={others}"
        return UserError(self.where, what, f"{remedy}.")

    def describe_row(self, row: int) -> str:
        with open_text(self.path, self.dialect.encoding) as lines:
            number = row + self.dialect.has_header
            for i, (line, _) in enumerate(read_records(lines, self.dialect.delimiter)):
                if i == number:
                    return f"line {line}"
        return f"row {row} (from 0)"


class ParquetFile(TableFile):
    """A Parquet file, whose columns have types."""

    has_types = True

    @cached_property
    def _types(self) -> dict[str, Any]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            schema = parquet.read_schema(self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            remedy = DAMAGED
            with self.path.open("rb") as opened:
                if opened.read(4) != b"PAR1":
                    remedy = "It is no Parquet: if it is text, rename it to .csv."
            raise UserError(
                self.where, f"cannot be read ({describe_error(error)})", remedy
            ) from error
        names = [name for name in schema.names if not INDEX.fullmatch(name)]
        require_unique(names, self.where)
        return {name: schema.field(name).type for name in names}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self._types)

    def read_batches(self, names: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import parquet

        for name in names:
            kind = self._types[name]
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if pa.types.is_nested(kind) or "binary" in str(kind) or pa.types.is_time(kind):
                what = f"column {shorten(name)} holds {shorten(kind)}, no numbers, texts or dates"
                raise UserError(self.where, what, f"Leave it out: dataset.drop=[{name}].")
        try:
            # pre_buffer would keep all row groups in memory
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(ROWS, columns=list(names)):
                    yield pa.Table.from_batches([batch]).select(list(names))
        except (pa.ArrowException, OSError, ValueError) as error:
            what = f"cannot be read ({describe_error(error)})"
            raise UserError(self.where, what, DAMAGED) from error

    def describe_row(self, row: int) -> str:
        return f"row {row} (from 0)"
