"""Samples from an array in a file."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from aeframe.data.samples import Raw, Shape, Source
from aeframe.errors import Problem, UserError

Layout = Literal["auto", "chw", "hwc", "flat"]


@dataclass(frozen=True)
class Header:
    """What the file of an array says before the numbers begin."""

    shape: Shape
    dtype: np.dtype[Any]


class Array(Source):
    """A `.npy` file (memory-mapped) or one array of an `.npz` file, samples first.

    path: the file. test_path: another for the test split. key: the array's name in an `.npz`.
    layout: of the samples; `auto` reads [N, D] as vectors, [N, H, W] as grey images, and four axes as
    channels last where the last has 1, 3 or 4 entries, else as channels first.
    Bytes count as 0..255 and 16 unsigned bits as 0..65535, whatever the file makes use of.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        test_path: str | None = None,
        key: str | None = None,
        layout: Layout = "auto",
    ) -> None:
        self.path, self.test_path = path, test_path
        self.key, self.layout = key, layout

    def shape(self) -> Shape | None:
        try:
            return None if self.path is None else self._described("path", self.path).shape
        except UserError:
            return None

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.npy.")]
        found: list[Problem] = []
        described: list[Header] = []
        for option, path in (("path", self.path), ("test_path", self.test_path)):
            try:
                if path is not None:
                    described.append(self._described(option, path))
            except UserError as error:
                found.extend(error.problems)
        if len(described) == 2 and _kind(described[0]) != _kind(described[1]):
            what = f"holds {_kind(described[1])}, dataset.path holds {_kind(described[0])}"
            remedy = "Give the test split the shape and the scale of the training data."
            found.append(Problem(f"dataset.test_path={self.test_path}", what, remedy))
        return found

    def load(self) -> Raw:
        assert self.path is not None, "see problems()"
        raw = self._raw("path", self.path)
        return (
            raw
            if self.test_path is None
            else replace(raw, test=self._raw("test_path", self.test_path))
        )

    def _raw(self, option: str, path: str) -> Raw:
        sample = self._described(option, path).shape
        file = Path(path).expanduser()
        with _reading(_where(option, path)):
            if file.suffix.lower() == ".npz":
                with np.load(file, allow_pickle=False) as arrays:
                    array = arrays[self.key or arrays.files[0]]
            else:  # copy-on-write: torch wants memory that it could write to; the file never changes
                array = np.load(file, mmap_mode="c", allow_pickle=False)
        if self._channels_last(array.shape):
            array = np.moveaxis(array, -1, 1)
        low, high = _known_range(array.dtype)
        data = _tensor(array.reshape(len(array), *sample))
        return Raw(data, low=low, high=high, origin=_where(option, path))

    def _described(self, option: str, path: str) -> Header:
        """Shape and type of one sample, from the file's header alone."""
        where, file = _where(option, path), Path(path).expanduser()
        if not file.is_file():
            raise UserError(where, "no such file", f"Write dataset.{option}=FILE.npy.")
        with _reading(where):
            header = self._header(file, where)
        if header.dtype.kind not in "biuf":
            what = f"holds {header.dtype}, not numbers"
            raise UserError(where, what, "Save it with a dtype of integers or floats.")
        if len(header.shape) < 2 or 0 in header.shape:
            remedy = "Give at least one sample, samples first: [N, D] or images."
            raise UserError(where, f"has shape {header.shape}", remedy)
        return Header(self._sample_shape(header.shape, where), header.dtype)

    def _header(self, file: Path, where: str) -> Header:
        if file.suffix.lower() == ".npy":
            with file.open("rb") as stream:
                return _read_header(stream)
        if file.suffix.lower() != ".npz":
            raise UserError(where, "is neither .npy nor .npz", "Save the array with numpy.save.")
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            listed = ", ".join(names[:8])
            if self.key is None and len(names) != 1:
                what = f"holds {len(names)} arrays: {listed}"
                raise UserError(where, what, "Write dataset.key=NAME.")
            if self.key is not None and self.key not in names:
                what = f"is not among the arrays of {file.name}: {listed}"
                raise UserError(f"dataset.key={self.key}", what, "Write one of these.")
            with archive.open(f"{self.key or names[0]}.npy") as stream:
                return _read_header(stream)

    def _sample_shape(self, shape: Shape, where: str) -> Shape:
        if self.layout == "flat" or (self.layout == "auto" and len(shape) == 2):
            return (math.prod(shape[1:]),)
        if len(shape) == 3:
            return (1, *shape[1:])
        if len(shape) == 4:
            return (shape[3], *shape[1:3]) if self._channels_last(shape) else shape[1:]
        what = f"has shape {shape}, which dataset.layout={self.layout} cannot be"
        raise UserError(where, what, "Write dataset.layout=flat.")

    def _channels_last(self, shape: Shape) -> bool:
        automatic = self.layout == "auto" and shape[-1] in (1, 3, 4)
        return len(shape) == 4 and (self.layout == "hwc" or automatic)


def _where(option: str, path: str) -> str:
    return f"dataset.{option}={path}"


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Whatever numpy says of a broken file, as the user's mistake."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            where, f"cannot be read ({reason})", "Save plain numbers with numpy.save."
        ) from error


def _read_header(stream: IO[bytes]) -> Header:
    major, _ = np.lib.format.read_magic(stream)
    first = np.lib.format.read_array_header_1_0
    read = first if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return Header(shape, dtype)


def _kind(header: Header) -> str:
    """What two splits must have in common."""
    numbers = "floats" if header.dtype.kind == "f" else "integers"
    return f"{numbers} of shape {header.shape}"


def _known_range(dtype: np.dtype[Any]) -> tuple[float | None, float | None]:
    """The range that a type says its values have; the other types say nothing."""
    high = {"b1": 1.0, "u1": 255.0, "u2": 65535.0}.get(dtype.str[1:])
    return (None, None) if high is None else (0.0, high)


def _tensor(array: np.ndarray) -> Tensor:
    """Without a copy, but for foreign byte orders and floats wider than torch has."""
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    native = array.dtype.newbyteorder("=")
    if native.kind == "f" and native.itemsize > 8:
        native = np.dtype(np.float64)
    return torch.from_numpy(array.astype(native, copy=False))
