"""Samples from an array in a file."""

from __future__ import annotations

import contextlib
import os
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from aeframe.core.errors import Problem, UserError, build_read_error, shorten
from aeframe.core.regular_files import require_regular
from aeframe.data.archive import pick_member
from aeframe.data.array_labels import read_labels, read_names
from aeframe.data.layouts import (
    Layout,
    LayoutError,
    describe_layout,
    get_sample_shape,
    is_channels_last,
    resolve_layout,
)
from aeframe.data.memory_map import Mapped, allocate, as_tensor, map_array
from aeframe.data.npy_header import Header, fill_array, read_header
from aeframe.data.source import Raw, Shape, Source
from aeframe.data.table_file import is_table
from aeframe.data.usual_ranges import count_columns
from aeframe.data.value_range import check_range, get_type_range, require_within

Opened = tuple[IO[bytes], int]
BFLOAT16 = "x.view(ml_dtypes.bfloat16)"


class Described(NamedTuple):
    """The header of an array, its layout (not `auto`), and the shape of one sample."""

    header: Header
    layout: Layout
    sample: Shape

    @property
    def is_channels_last(self) -> bool:
        """Check that the channels come last in the file."""
        return is_channels_last(self.layout, self.header.shape)

    @property
    def axes(self) -> Shape:
        """The axes of a sample in the file, if it becomes a vector."""
        return self.header.shape[1:] if len(self.header.shape) > 2 and self.layout == "flat" else ()


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
    """

    path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    key: str | None = None
    layout: Layout = "auto"
    range: list[float] | None = None
    labels: str | None = None
    names: str | None = None

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
        kinds: dict[str, str] = {}
        for option, path in {"path": self.path, **self._other_paths}.items():
            try:
                kinds[option] = _describe_kind(self._describe(option, path))
            except UserError as error:
                found.extend(error.problems)
        first = kinds.get("path")
        for option, kind in kinds.items():
            if first not in (None, kind):
                what = f"holds {kind}, dataset.path holds {first}"
                remedy = "Give each split the shape and the scale of the training data."
                where = _name_option(option, self._other_paths[option])
                found.append(Problem(where, what, remedy))
        return found

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
        where, file = _name_option(option, path), Path(os.path.expanduser(path))
        one = self._describe(option, path)
        with _translate_errors(where), self._open(file, where) as (stream, _):
            if file.suffix.lower() == ".npy" and _can_be_mapped(one):
                array, mapping = _map_samples(stream, one)
            else:
                array, mapping = _read_samples(stream, one), None
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
        where, file = _name_option(option, path), Path(os.path.expanduser(path))
        if not os.path.isfile(file):
            remedy, is_folder = f"Write dataset.{option}=FILE.npy", os.path.isdir(file)
            if is_folder and option == "path":
                remedy += f", or dataset=image_folder dataset.root={path}"
            raise UserError(where, "is a folder" if is_folder else "no such file", f"{remedy}.")
        with _translate_errors(where), self._open(file, where) as (stream, size):
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
            layout = resolve_layout(self.layout, header.shape)
        except LayoutError as error:
            raise UserError(where, error.what, error.remedy) from error
        return Described(header, layout, get_sample_shape(layout, header.shape))

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
            if is_table(file.name):
                remedy = f"Write dataset=table {shlex.quote(f'dataset.path={file}')}."
            raise UserError(where, "is neither .npy nor .npz", remedy)
        with zipfile.ZipFile(file) as archive:
            member = pick_member(archive, self.key, where, file.name)
            with archive.open(member) as stream:
                yield stream, archive.getinfo(member).file_size


def _name_option(option: str, path: str) -> str:
    return f"dataset.{option}={path}"


@contextlib.contextmanager
def _translate_errors(where: str) -> Iterator[None]:
    """Translate the exceptions for broken files into a UserError."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        remedy = "Save it with numpy.save: a .npy file is not read as a whole."
        raise build_read_error(where, error, remedy) from error
    except Exception as error:  # broken files raise nearly anything in numpy and zipfile
        raise build_read_error(where, error, "Save plain numbers with numpy.save.") from error


def _describe_kind(one: Described) -> str:
    """Describe the properties that two splits must share."""
    return f"{'floats' if one.header.is_float else 'integers'} of shape {one.sample}"


def _map_samples(stream: IO[bytes], one: Described) -> Mapped:
    """Map the samples into memory, [N, *sample]."""
    header = one.header
    dtype, offset = get_torch_dtype(header.dtype), header.offset
    array, mapping = map_array(stream, dtype, header.shape, offset=offset, order=header.order)
    if one.is_channels_last:
        array = np.moveaxis(array, -1, 1)
    return Mapped(array.reshape(len(array), *one.sample), mapping)


def _read_samples(stream: IO[bytes], one: Described) -> np.ndarray:
    """Read the samples into memory, [N, *sample]."""
    header = one.header
    array = allocate((header.shape[0], *one.sample), get_torch_dtype(header.dtype))
    last = one.is_channels_last
    as_stored = np.moveaxis(array, 1, -1) if last else array.reshape(header.shape)
    fill_array(as_stored, stream, header)
    return array


def _refuse_other_bits(raw: Raw) -> None:
    """Raise UserError for booleans that are not 0 or 1, which NumPy does not check."""
    if any(int(chunk.max()) > 1 for _, chunk in raw.read_chunks()):
        what = "is of type bool, but has bytes other than 0 and 1"
        raise UserError(raw.origin, what, "Save them as numpy.uint8.")


def get_torch_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the closest type of torch: native byte order, bytes for booleans, at most 64 bits."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype.newbyteorder("=")


def _can_be_mapped(one: Described) -> bool:
    """Check whether a tensor can share the memory of the stored numbers."""
    header = one.header
    flattened = len(one.sample) < len(header.shape) - 1
    same = header.dtype.isnative and header.dtype.itemsize <= 8
    aligned = header.offset % header.dtype.itemsize == 0
    return same and aligned and not (flattened and header.order == "F")
