"""Encoding of a table's files as one array, in memory or in a file of the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aeframe.core.errors import ConfigError
from aeframe.core.version import __version__
from aeframe.data.arrays.npy_header import read_header
from aeframe.data.cell_error import CellError
from aeframe.data.classes import UNLABELED
from aeframe.data.memory_map import Mapped, allocate, map_array
from aeframe.data.table_cells import find_gaps, get_cells, number_texts, write_texts
from aeframe.data.table_schema import Schema
from aeframe.data.tables.table_file import TableFile
from aeframe.data.tables.table_looks import replace_commas
from aeframe.data.user_cache import find_user_cache, lock, write_private

LARGE = 2**28  # bytes of an array that is kept in a file


class Encoded(NamedTuple):
    """Samples [N, width], with NaN for gaps, and the numbers of their classes, [N], or None."""

    x: Mapped
    labels: np.ndarray | None


@dataclass(frozen=True)
class Encoder:
    """Encodes the files of a split. rows: of each file. commas: columns with decimal commas."""

    files: Sequence[TableFile]
    rows: Sequence[int]
    schema: Schema
    commas: frozenset[str]
    label: str | None
    classes: tuple[str, ...]

    def encode(self) -> Encoded:
        """Encode all rows; a large table only once, into a file that is memory-mapped.

        Raises UserError that names the file, the line and the column of a cell that does not fit.
        """
        shape = (sum(self.rows), self.schema.width)
        if 4 * shape[0] * shape[1] > LARGE:
            with contextlib.suppress(OSError):  # no cache can be written
                return self._encode_in_cache(shape)
        x, labels = allocate(shape, np.dtype(np.float32)), self._allocate_labels()
        self._fill(x, labels)
        return Encoded(Mapped(x, None), labels)

    def _allocate_labels(self) -> np.ndarray | None:
        return None if self.label is None else np.empty(sum(self.rows), np.int64)

    def _fill(self, x: np.ndarray, labels: np.ndarray | None) -> None:
        """Fill arrays of all rows, in batches."""
        start = 0
        for batch, samples in self.read([self.label] if self.label is not None else []):
            place = slice(start, start + len(samples))
            x[place] = samples
            if labels is not None:
                labels[place] = self._number_labels(batch)
            start = place.stop

    def read(self, others: Sequence[str] = ()) -> Iterator[tuple[Any, np.ndarray]]:
        """Iterate over all rows in batches: a table of Arrow and its samples [n, width], float32.

        others: names of columns that the tables have beside those of the samples, such as that of the ids.
        """
        names = list(dict.fromkeys([*self.schema.names, *others]))
        for file in self.files:
            row = 0
            for read in file.read_batches(names):
                batch = self._replace_commas(read)
                try:
                    yield batch, self.schema.encode(batch, file.where)
                except CellError as error:
                    raise ConfigError(error.list_problems(file.describe_row, row)) from error
                row += len(batch)

    def _replace_commas(self, batch: Any) -> Any:
        for name in self.commas.intersection(batch.column_names):
            cells = replace_commas(batch[name])
            batch = batch.set_column(batch.column_names.index(name), name, cells)
        return batch

    def _number_labels(self, batch: Any) -> np.ndarray:
        import pyarrow as pa
        from pyarrow import compute as pc

        cells = get_cells(batch, self.label, self.files[0].where)
        texts = pc.if_else(pa.array(find_gaps(cells)), UNLABELED, write_texts(cells))
        return number_texts(texts, self.classes).to_numpy(zero_copy_only=False)

    def _encode_in_cache(self, shape: tuple[int, int]) -> Encoded:
        """Encode into files of the cache, unless they are there. Raises OSError without space for them."""
        folder = find_user_cache()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # tables may be private
        key = folder / hashlib.sha256(self._describe().encode()).hexdigest()[:32]
        samples, labels = key.with_suffix(".table.npy"), key.with_suffix(".labels.npy")
        with lock(key.with_suffix(".lock")):
            if not samples.exists():
                self._write(samples, labels, shape)
        with samples.open("rb") as stream:
            header = read_header(stream)
            x = map_array(stream, header.dtype, header.shape, offset=header.offset)
        return Encoded(x, None if self.label is None else np.load(labels, allow_pickle=False))

    def _write(self, samples: Path, labels: Path, shape: tuple[int, int]) -> None:
        """Write complete files, then rename them; the one of the samples comes last."""
        if shutil.disk_usage(samples.parent).free < 4 * shape[0] * shape[1]:
            raise OSError(f"{samples.parent} is full")
        numbers = self._allocate_labels()
        with write_private(samples) as partial:
            x = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
            self._fill(x, numbers)
            x.flush()
            del x
            if numbers is not None:
                with write_private(labels) as other, other.open("wb") as stream:
                    np.save(stream, numbers)

    def _describe(self) -> str:
        """Describe everything that the arrays depend on."""
        files = [
            (os.path.abspath(file.path), status.st_size, status.st_mtime_ns)
            for file in self.files
            for status in (file.path.stat(),)
        ]
        options = [sorted(self.commas), self.label, self.classes, [f.options for f in self.files]]
        return json.dumps([__version__, files, self.schema.as_dict(), options])
