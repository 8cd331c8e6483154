"""Samples from many files, which may be larger than memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from aeframe.core.bounds import Above
from aeframe.core.errors import Problem, UserError
from aeframe.data.arrays.array_labels import read_labels
from aeframe.data.layouts import Layout, LayoutError, describe_layout
from aeframe.data.normalization.value_range import get_type_range
from aeframe.data.shard_rows import ShardRows
from aeframe.data.shards.shard_files import Paths, list_shards, open_shards
from aeframe.data.source import Raw, Shape, Source


@dataclass(kw_only=True, eq=False)
class Shards(Source):
    """Rows of numbers, [n, D] or [n, ...], in many files, as if they were one array.

    path: a folder, a pattern such as acts/*.npy, a file, or a list of them. val_path, test_path: those of
    other splits. key: the name of the array (.npz, .safetensors, .h5) or of the column of lists (.parquet).
    layout: of the samples, as in an array. labels: an .npy file with a whole number or a text for each row
    of `path`. window: MiB of rows that are shuffled together, if the rows stay in their files; two windows
    are in memory.
    """

    path: str | list[str] | None = None
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    key: str | None = None
    layout: Layout = "auto"
    labels: str | None = None
    window: Annotated[float, Above(0)] = 256.0

    def shape(self) -> Shape | None:
        try:
            return self._rows["path"].sample
        except UserError:
            return None

    def description(self) -> str:
        rows = self._rows["path"]
        files = f"{len(rows.shards):,} file{'s' if len(rows.shards) > 1 else ''}"
        return f"{files} of {describe_layout(rows.layout, rows.stored)}"

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no files given", "Write dataset.path='FOLDER/*.npy'.")]
        try:
            rows = self._rows
        except UserError as error:
            return list(error.problems)
        kinds = {option: _describe_kind(each) for option, each in rows.items()}
        remedy = "Give each split the shape and the type of the training data."
        return [
            Problem(f"dataset.{option}", f"holds {kind}, dataset.path {kinds['path']}", remedy)
            for option, kind in kinds.items()
            if kind != kinds["path"]
        ]

    def load(self) -> Raw:
        raws = {option: self._make_raw(option, rows) for option, rows in self._rows.items()}
        return replace(raws["path"], val=raws.get("val_path"), test=raws.get("test_path"))

    def _make_raw(self, option: str, rows: ShardRows) -> Raw:
        first = rows.shards[0]
        low, high = (None, None) if first.bfloat16 else get_type_range(first.stored)
        assumed = low is not None and first.stored.kind != "b"
        is_flattened = len(rows.sample) < len(rows.stored) - 1
        raw = Raw(
            rows,
            low=low,
            high=high,
            origin=f"dataset.{option}",
            assumed=assumed,
            axes=rows.stored[1:] if is_flattened else (),
        )
        if self.labels is None or option != "path":
            return raw
        labels = read_labels(self.labels, rows.shards[0].path, len(rows))
        return replace(raw, labels=labels.numbers, classes=labels.classes)

    @cached_property
    def _rows(self) -> dict[str, ShardRows]:
        """The rows of each split, by option. Raises UserError for files that cannot be used."""
        given = {"path": self.path, "val_path": self.val_path, "test_path": self.test_path}
        return {
            option: self._open(option, path) for option, path in given.items() if path is not None
        }

    def _open(self, option: str, path: Paths) -> ShardRows:
        shards = open_shards(list_shards(path, option), self.key)
        try:
            return ShardRows(shards, self.layout, self.window * 2**20)
        except LayoutError as error:
            raise UserError(f"dataset.{option}", error.what, error.remedy) from error


def _describe_kind(rows: ShardRows) -> str:
    return f"{rows.shards[0].type_name} of shape {rows.sample}"
