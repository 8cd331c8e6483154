"""Samples from an array in a file."""

from __future__ import annotations

import contextlib
import os
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from glob import has_magic
from pathlib import Path
from typing import IO

import numpy as np
import torch

from aeframe.core.errors import Problem, UserError, shorten
from aeframe.core.regular_files import require_regular
from aeframe.core.table_names import is_table
from aeframe.data.archive import pick_member
from aeframe.data.arrays.array_labels import read_labels, read_names
from aeframe.data.arrays.array_reading import (
    Described,
    can_be_mapped,
    describe_kind,
    map_samples,
    read_samples,
    translate_errors,
)
from aeframe.data.arrays.npy_header import read_header
from aeframe.data.layouts import (
    Layout,
    LayoutError,
    describe_layout,
    get_sample_shape,
    resolve_layout,
)
from aeframe.data.memory_map import as_tensor
from aeframe.data.normalization.usual_ranges import count_columns
from aeframe.data.normalization.value_range import check_range, get_type_range, require_within
from aeframe.data.pairs import BESIDE, INSIDE, OWN, Names, explain_lengths, list_lone_splits, pair
from aeframe.data.source import Raw, Shape, Source

Opened = tuple[IO[bytes], int]
BFLOAT16 = "x.view(ml_dtypes.bfloat16)"


@dataclass(kw_only=True, eq=False)
class Array(Source):
    """A `.npy` file (memory-mapped) or one array of an `.npz` file, samples first.

    path: the file. val_path, test_path: files with other splits. key: the name of the array in an `.npz`.
    layout: of the samples. `auto` reads [N, D] as vectors and [N, H, W] as gray images, unless one side is as
    short as a few channels. It reads four and five axes as channels last if the last has 1, 3 or 4 entries,
    else as channels first. `cl` and `lc` are signals of several channels. range: the lowest and the highest
    possible value. Without it, uint8 has the range 0..255 and uint16 the range 0..65535; other types have the
    range of the training split. labels: the name of an array in the `.npz`, or an `.npy` file, with a whole
    number or a text for each sample. names: the same for each column of a table or channel of a signal.
    target: what the network is to write for each sample, if not the sample itself: a file, or the name of
    another array in the `.npz`. val_target, test_target: files with the targets of other splits.
    """

    path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    key: str | None = None
    layout: Layout = "auto"
    range: list[float] | None = None
    labels: str | None = None
    names: str | None = None
    target: str | None = None
    val_target: str | None = None
    test_target: str | None = None
    named: Names = field(default_factory=lambda: OWN, init=False, repr=False)
    """The options by which messages call the files and the array."""

    @property
    def has_target(self) -> bool:
        return self.target is not None

    def target_shape(self) -> Shape | None:
        return None if self.target is None else self._make_target(self.target).shape()

    def _make_target(self, target: str) -> Array:
        """Make the source of the targets."""
        is_archive = str(self.path).lower().endswith(".npz")
        if not is_archive or target.lower().endswith((".npy", ".npz")):
            own = replace(self, path=target, val_path=self.val_target, test_path=self.test_target)
            own.named = BESIDE
        else:  # an array beside that of the samples in each file
            own = replace(self, key=target)
            own.named = INSIDE
        own.target = own.val_target = own.test_target = None
        own.labels = own.names = own.range = None
        return own

    def shape(self) -> Shape | None:
        try:
            return None if self.path is None else self._describe("path", self.path).sample
        except UserError:
            return None

    def description(self) -> str:
        assert self.path is not None, "see problems()"
        header, layout, _ = self._describe("path", self.path)
        return f"Array of {describe_layout(layout, header.shape)}"

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.npy.")]
        found = [] if (wrong := check_range(self.range)) is None else [wrong]
        files, found_in_files = self._describe_all()
        found += found_in_files
        first = None if "path" not in files else describe_kind(files["path"])
        for option, one in files.items():
            if first not in (None, kind := describe_kind(one)):
                what = f"holds {kind}, dataset.{self.named['path']} holds {first}"
                remedy = "Give each split the shape and the scale of the training data."
                where = self._name(option, self._other_paths[option])
                found.append(Problem(where, what, remedy))
        return [*found, *self._list_target_problems(files)]

    def _describe_all(self) -> tuple[dict[str, Described], list[Problem]]:
        """Read the headers of all files. Returns them by option, and what is wrong with the others."""
        assert self.path is not None
        files, wrong = {}, list[Problem]()
        for option, path in {"path": self.path, **self._other_paths}.items():
            try:
                files[option] = self._describe(option, path)
            except UserError as error:
                wrong.extend(error.problems)
        return files, wrong

    def _list_target_problems(self, files: Mapping[str, Described]) -> Iterator[Problem]:
        """List what is wrong with the targets, and with them beside samples of these files."""
        if self.target is None:
            for option, file in (
                ("val_target", self.val_target),
                ("test_target", self.test_target),
            ):
                if file is not None:
                    what = "has no effect without targets of the training data"
                    yield Problem(
                        f"dataset.{option}={file}", what, "Write dataset.target=FILE.npy."
                    )
            return
        own = self._make_target(self.target)
        yield from own.problems()
        yield from list_lone_splits(self._other_paths, own._other_paths, own.named)
        for option, one in own._describe_all()[0].items():
            if option in files and (count := files[option].header.shape[0]) != one.header.shape[0]:
                mine, beside = self._name_file(option), own._name_file(option)
                yield Problem(*explain_lengths(beside, one.header.shape[0], mine, count))

    def _name(self, option: str, path: str) -> str:
        """Name a file as on the command line."""
        return f"dataset.{self.named[option]}={path}"

    def _name_file(self, option: str) -> str:
        path = self.path if option == "path" else self._other_paths[option]
        return self._name(option, str(path))

    @property
    def _other_paths(self) -> dict[str, str]:
        """Files of the other splits, by option."""
        paths = {"val_path": self.val_path, "test_path": self.test_path}
        return {option: path for option, path in paths.items() if path is not None}

    def load(self) -> Raw:
        assert self.path is not None, "see problems()"
        raw = self._read("path", self.path)
        others = {option: self._read(option, path) for option, path in self._other_paths.items()}
        whole = replace(raw, val=others.get("val_path"), test=others.get("test_path"))
        if self.target is not None:
            whole = pair(whole, self._make_target(self.target).load())
        if raw.low is None or raw.high is None:
            return whole
        known = (raw.low, raw.high)
        if self.range is not None:
            require_within(raw, known, "dataset.range")
        for other in others.values():
            if self.range is not None or (other.low, other.high) != known:
                require_within(other, known, "the range of the training data")
        return whole

    def restore_layout(self, x: np.ndarray) -> np.ndarray:
        """Convert samples [n, *sample] to the layout of the file."""
        assert self.path is not None, "see problems()"
        one = self._describe("path", self.path)
        if one.is_channels_last:
            return np.moveaxis(x, 1, -1)
        return x.reshape(-1, *one.header.shape[1:])

    def _read(self, option: str, path: str) -> Raw:
        where, file = self._name(option, path), Path(os.path.expanduser(path))
        one = self._describe(option, path)
        with translate_errors(where), self._open(file, where) as (stream, _):
            if file.suffix.lower() == ".npy" and can_be_mapped(one):
                array, mapping = map_samples(stream, one)
            else:
                array, mapping = read_samples(stream, one), None
        data = as_tensor(array).view(torch.bfloat16) if one.header.bfloat16 else as_tensor(array)
        low, high = (None, None) if one.header.bfloat16 else get_type_range(one.header.dtype)
        raw = Raw(data, low=low, high=high, origin=where, mapping=mapping, assumed=low is not None)
        if one.header.dtype.kind == "b":
            _refuse_other_bits(raw)
            raw = replace(raw, assumed=False)
        if self.range is not None:
            raw = replace(raw, low=self.range[0], high=self.range[1], assumed=False)
        raw = replace(raw, axes=one.axes)
        if self.names is not None and option == "path":
            names = read_names(self.names, file, count_columns(one.sample, one.axes))
            raw = replace(raw, names=names)
        return self._label(raw, option, file)

    def _label(self, raw: Raw, option: str, file: Path) -> Raw:
        """Add the labels. A file of labels belongs to `path`; other splits have theirs in an archive."""
        is_file = self.labels is not None and self.labels.lower().endswith(".npy")
        if self.labels is None or (option != "path" and is_file):
            return raw
        labels = read_labels(self.labels, file, len(raw))
        return replace(raw, labels=labels.numbers, classes=labels.classes)

    def _describe(self, option: str, path: str) -> Described:
        """Read the header of the file, and resolve the layout."""
        where, file = self._name(option, path), Path(os.path.expanduser(path))
        if not os.path.isfile(file):
            remedy = f"Write dataset.{self.named[option]}=FILE.npy"
            is_folder = os.path.isdir(file)
            if is_folder and self.named[option] == "path":
                remedy += f", or dataset=image_folder dataset.root={path}"
            if has_magic(path):
                remedy = f"For many files write dataset=shards dataset.path='{path}'"
            raise UserError(where, "is a folder" if is_folder else "no such file", f"{remedy}.")
        with translate_errors(where), self._open(file, where) as (stream, size):
            header = read_header(stream)
        if header.dtype.kind not in "biuf":
            remedy = "Save it with a dtype of integers or floats."
            if header.dtype == np.dtype("V2"):
                remedy = f"If they are bfloat16, save {BFLOAT16}.astype('float32')."
            raise UserError(where, f"holds {shorten(header.dtype)}, not numbers", remedy)
        if len(header.shape) < 2 or min(header.shape) < 1:
            remedy = "Give at least one sample, samples first: [N, D] or images."
            raise UserError(where, f"has shape {header.shape}", remedy)
        if size != header.size:
            what = (
                f"cannot be read (it has {size} bytes instead of the {header.size} of its header)"
            )
            raise UserError(where, what, "Save the array again.")
        try:
            layout = self._resolve_layout(header.shape)
        except LayoutError as error:
            raise UserError(where, error.what, error.remedy) from error
        return Described(header, layout, get_sample_shape(layout, header.shape))

    def _resolve_layout(self, shape: Shape) -> Layout:
        try:
            return resolve_layout(self.layout, shape)
        except LayoutError:
            if self.named is OWN:
                raise
            return resolve_layout("auto", shape)  # targets may have other axes than samples

    @contextlib.contextmanager
    def _open(self, file: Path, where: str) -> Iterator[Opened]:
        """Open the stream of the header and the numbers, and tell its size in bytes."""
        require_regular(file)
        if file.suffix.lower() == ".npy":
            with file.open("rb") as stream:
                yield stream, os.fstat(stream.fileno()).st_size
            return
        if file.suffix.lower() != ".npz":
            remedy = "Save the array with numpy.save."
            if is_table(file.name) and self.named is OWN:
                remedy = f"Write dataset=table {shlex.quote(f'dataset.path={file}')}."
            raise UserError(where, "is neither .npy nor .npz", remedy)
        with zipfile.ZipFile(file) as archive:
            member = pick_member(archive, self.key, where, file.name, self.named["key"])
            with archive.open(member) as stream:
                yield stream, archive.getinfo(member).file_size


def _refuse_other_bits(raw: Raw) -> None:
    """Raise UserError for booleans that are not 0 or 1, which NumPy does not check."""
    if any(int(chunk.max()) > 1 for _, chunk in raw.read_chunks()):
        what = "is of type bool, but has bytes other than 0 and 1"
        raise UserError(raw.origin, what, "Save them as numpy.uint8.")
