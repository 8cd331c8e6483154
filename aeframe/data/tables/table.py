"""Samples from tables: CSV, TSV and Parquet files with numbers, categories, dates and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from aeframe.core.errors import Problem, UserError, build_read_error
from aeframe.data.memory_map import as_tensor
from aeframe.data.source import Raw, Shape, Source
from aeframe.data.tables.table_encoding import Encoder
from aeframe.data.tables.table_findings import list_findings
from aeframe.data.tables.table_looks import Decimal
from aeframe.data.tables.table_paths import Paths, Reading, open_files
from aeframe.data.tables.table_survey import Survey, open_split, survey
from aeframe.data.tables.text_dialect import Delimiter


@dataclass(kw_only=True, eq=False)
class Table(Source):
    """A table in a CSV, TSV or Parquet file, or in several files. Each row is a sample.

    path: the file, a list of files, or a pattern such as data/*.csv; .gz files are unpacked. val_path,
    test_path: files with other splits. types: by name: numeric, boolean, categorical, date, dmy, mdy or
    count, in place of the type that is found by looking at all cells. id: the column that names the rows,
    which is not trained on. label: the column of classes, likewise. drop: columns to leave out. columns: the
    only ones to use. indicator: whether a boolean element is added for each column with gaps. delimiter,
    decimal, encoding: of text files; `auto` looks.
    """

    path: str | list[str] | None = None
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    types: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    label: str | None = None
    drop: Sequence[str] = ()
    columns: Sequence[str] | None = None
    indicator: bool = False
    delimiter: Delimiter = "auto"
    decimal: Decimal = "auto"
    encoding: str = "auto"

    def shape(self) -> Shape | None:
        try:
            return None if self.path is None else (self.survey().schema.width,)
        except UserError:
            return None

    def description(self) -> str:
        count = len([column for column in self.survey().schema.columns if not column.of])
        return f"Table of {count:,} column{'s' if count > 1 else ''}"

    def list_findings(self) -> list[str]:
        return list_findings(self.survey())

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.csv.")]
        try:
            self.survey()
            for option, paths in self._other_paths.items():
                open_files(paths, option, self._reading)
        except UserError as error:
            return list(error.problems)
        return []

    def survey(self) -> Survey:
        """Return what is known of the training data. Raises UserError with all mistakes in it."""
        assert self.path is not None, "see problems()"
        return survey(self.path, self._reading)

    @property
    def _reading(self) -> Reading:
        return Reading(
            tuple((str(name), str(kind)) for name, kind in self.types.items()),
            self.id,
            self.label,
            tuple(map(str, self.drop)),
            None if self.columns is None else tuple(map(str, self.columns)),
            self.indicator,
            self.delimiter,
            self.decimal,
            self.encoding,
        )

    @property
    def _other_paths(self) -> dict[str, Paths]:
        """Files of the other splits, by option."""
        paths = {"val_path": self.val_path, "test_path": self.test_path}
        return {option: path for option, path in paths.items() if path is not None}

    def load(self) -> Raw:
        known = self.survey()
        label = self.label if known.classes else None
        encoder = Encoder(known.files, known.rows, known.schema, known.commas, label, known.classes)
        raw = self._encode(encoder)
        others = {
            option: self._load_split(option, path) for option, path in self._other_paths.items()
        }
        return replace(raw, val=others.get("val_path"), test=others.get("test_path"))

    def _load_split(self, option: str, paths: Paths) -> Raw:
        """Read another split, with the columns of the training data."""
        schema = self.survey().schema
        return self._encode(open_split(paths, option, schema, self._reading, self.label))

    @staticmethod
    def _encode(encoder: Encoder) -> Raw:
        where = encoder.files[0].where
        try:
            (x, mapping), labels = encoder.encode()
        except MemoryError as error:
            raise build_read_error(where, error, "Use fewer columns: dataset.columns.") from error
        return Raw(
            as_tensor(x),
            None if labels is None else torch.from_numpy(labels),
            classes=encoder.classes,
            origin=where,
            mapping=mapping,
            columns=encoder.schema,
            gaps=True,
        )
