"""Samples from many files, which may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from aeframe.core.bounds import Above
from aeframe.core.errors import Problem, UserError
from aeframe.data.arrays.array_labels import read_labels
from aeframe.data.layouts import Layout, LayoutError, describe_layout
from aeframe.data.normalization.value_range import get_type_range
from aeframe.data.pairs import BESIDE, OWN, Names, list_lone_splits, pair
from aeframe.data.shard_rows import ShardRows
from aeframe.data.shards.shard_files import Paths, list_shards, open_shards
from aeframe.data.source import Raw, Shape, Source

SPLIT = {target: option for option, target in BESIDE.items() if option != "key"}
"""Options of samples by those of their targets."""


@dataclass(kw_only=True, eq=False)
class Shards(Source):
    """Rows of numbers, [n, D] or [n, ...], in many files, as if they were one array.

    path: a folder, a pattern such as acts/*.npy, a file, or a list of them. val_path, test_path: those of
    other splits. key: the name of the array (.npz, .safetensors, .h5) or of the column of lists (.parquet).
    layout: of the samples, as in an array. labels: an .npy file with a whole number or a text for each row
    of `path`. window: MiB of rows that are shuffled together, if the rows stay in their files; two windows
    are in memory. target: what the network is to write for each row, if not the row itself: as many files
    with as many rows, in the same order. val_target, test_target: those of the other splits. target_key: the
    name of the targets' array; without `target` it is another array of the same files.
    """

    path: str | list[str] | None = None
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    key: str | None = None
    layout: Layout = "auto"
    labels: str | None = None
    window: Annotated[float, Above(0)] = 256.0
    target: str | list[str] | None = None
    val_target: str | list[str] | None = None
    test_target: str | list[str] | None = None
    target_key: str | None = None

    @property
    def has_target(self) -> bool:
        return self.target is not None or self.target_key is not None

    def target_shape(self) -> Shape | None:
        try:
            return self._targets["path"].sample if self.has_target else None
        except UserError:
            return None

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
        if lone := list(self._list_lone_targets()):
            return lone
        try:
            rows, targets = self._rows, self._targets
        except UserError as error:
            return list(error.problems)
        return [*_list_other_kinds(rows, OWN), *_list_other_kinds(targets, self._named)]

    def _list_lone_targets(self) -> Iterator[Problem]:
        """List splits that lack targets or samples."""
        samples = _list_given(self, OWN)
        targets = {SPLIT[option]: path for option, path in _list_given(self, SPLIT).items()}
        if targets:
            yield from list_lone_splits(samples, targets, BESIDE)

    def load(self) -> Raw:
        raw = self._join(self._rows, OWN)
        return pair(raw, self._join(self._targets, self._named)) if self.has_target else raw

    def _join(self, rows: Mapping[str, ShardRows], named: Names) -> Raw:
        raws = {option: self._make_raw(named[option], each) for option, each in rows.items()}
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
        if self.labels is None or rows is not self._rows["path"]:
            return raw
        labels = read_labels(self.labels, rows.shards[0].path, len(rows))
        return replace(raw, labels=labels.numbers, classes=labels.classes)

    @cached_property
    def _rows(self) -> dict[str, ShardRows]:
        """The rows of each split, by option. Raises UserError for files that cannot be used."""
        return {
            option: self._open(option, path, self.key)
            for option, path in _list_given(self, OWN).items()
        }

    @cached_property
    def _targets(self) -> dict[str, ShardRows]:
        """The targets of each split, by the option of its samples, in blocks of the same rows."""
        if not self.has_target:
            return {}
        named, found = self._named, dict[str, ShardRows]()
        for option, rows in self._rows.items():
            path = getattr(self, named[option])
            found[option] = self._open(named[option], path, self.target_key or self.key)
            rows.pair_with(found[option])
        return found

    @property
    def _named(self) -> Names:
        """The options that name the files of targets."""
        return OWN if self.target is None else BESIDE

    def _open(self, option: str, path: Paths, key: str | None) -> ShardRows:
        shards = open_shards(list_shards(path, option), key, option)
        try:
            return ShardRows(shards, self.layout, self.window * 2**20)
        except LayoutError as error:
            raise UserError(f"dataset.{option}", error.what, error.remedy) from error


def _list_given(source: Shards, options: Iterable[str]) -> dict[str, Any]:
    """List the files that are given, by option."""
    files = {option: getattr(source, option) for option in options if option != "key"}
    return {option: path for option, path in files.items() if path is not None}


def _list_other_kinds(rows: Mapping[str, ShardRows], named: Names) -> Iterator[Problem]:
    """List splits whose rows are of another kind than those of training."""
    kinds = {option: _describe_kind(each) for option, each in rows.items()}
    for option, kind in kinds.items():
        if kind != kinds["path"]:
            what = f"holds {kind}, dataset.{named['path']} {kinds['path']}"
            remedy = "Give each split the shape and the type of the training data."
            yield Problem(f"dataset.{named[option]}", what, remedy)


def _describe_kind(rows: ShardRows) -> str:
    return f"{rows.shards[0].type_name} of shape {rows.sample}"
