"""Samples from an array in a file."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from aeframe.data.mapped import Mapped, mapped, room, tensor
from aeframe.data.samples import CHUNK, Raw, Shape, Source
from aeframe.errors import Problem, UserError, short, unreadable

Layout = Literal["auto", "chw", "hwc", "flat"]
Opened = tuple[IO[bytes], int]

LONGEST = 2**14  # bytes of a header; numpy writes some hundred and believes 10,000
AXES = 64  # of an array, numpy's limit


@dataclass(frozen=True)
class Header:
    """What the file of an array says before the numbers begin.

    shape: [N, ...]. order: in which the numbers lie, C or Fortran's. offset: where they begin.
    """

    shape: Shape
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


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
            return None if self.path is None else self._described("path", self.path)[1]
        except UserError:
            return None

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.npy.")]
        found: list[Problem] = []
        described: list[tuple[Header, Shape]] = []
        for option, path in (("path", self.path), ("test_path", self.test_path)):
            try:
                if path is not None:
                    described.append(self._described(option, path))
            except UserError as error:
                found.extend(error.problems)
        kinds = [_kind(*one) for one in described]
        if len(kinds) == 2 and kinds[0] != kinds[1]:
            what = f"holds {kinds[1]}, dataset.path holds {kinds[0]}"
            remedy = "Give the test split the shape and the scale of the training data."
            found.append(Problem(f"dataset.test_path={self.test_path}", what, remedy))
        return found

    def load(self) -> Raw:
        assert self.path is not None, "see problems()"
        raw = self._raw("path", self.path)
        if self.test_path is None:
            return raw
        return replace(raw, test=self._raw("test_path", self.test_path))

    def as_given(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, *sample] in the layout that those of the file have."""
        assert self.path is not None, "see problems()"
        shape = self._described("path", self.path)[0].shape
        return np.moveaxis(x, 1, -1) if self._channels_last(shape) else x.reshape(-1, *shape[1:])

    def _raw(self, option: str, path: str) -> Raw:
        where, file = _where(option, path), Path(os.path.expanduser(path))
        header, sample = self._described(option, path)
        with _reading(where), self._opened(file, where) as (stream, _):
            if file.suffix.lower() == ".npy" and _as_it_is(header, sample):
                array, mapping = self._mapped(stream, header, sample)
            else:
                array, mapping = self._read(stream, header, sample), None
        low, high = _known_range(header.dtype)
        raw = Raw(tensor(array), low=low, high=high, origin=where, mapping=mapping)
        if header.dtype.kind == "b":
            _refuse_other_bits(raw)
        return raw

    def _mapped(self, stream: IO[bytes], header: Header, sample: Shape) -> Mapped:
        dtype, offset = _torch_dtype(header.dtype), header.offset
        array, mapping = mapped(stream, dtype, header.shape, offset=offset, order=header.order)
        if self._channels_last(header.shape):
            array = np.moveaxis(array, -1, 1)
        return Mapped(array.reshape(len(array), *sample), mapping)

    def _read(self, stream: IO[bytes], header: Header, sample: Shape) -> np.ndarray:
        array = room((header.shape[0], *sample), _torch_dtype(header.dtype))
        last = self._channels_last(header.shape)
        as_stored = np.moveaxis(array, 1, -1) if last else array.reshape(header.shape)
        _fill(as_stored, stream, header)
        return array

    def _described(self, option: str, path: str) -> tuple[Header, Shape]:
        """The file's header, and the shape of one sample."""
        where, file = _where(option, path), Path(os.path.expanduser(path))
        if not os.path.isfile(file):
            remedy, is_folder = f"Write dataset.{option}=FILE.npy", os.path.isdir(file)
            if is_folder and option == "path":
                remedy += f", or dataset=image_folder dataset.root={path}"
            raise UserError(where, "is a folder" if is_folder else "no such file", f"{remedy}.")
        with _reading(where), self._opened(file, where) as (stream, size):
            header = _read_header(stream)
        if header.dtype.kind not in "biuf":
            what = f"holds {short(header.dtype)}, not numbers"
            raise UserError(where, what, "Save it with a dtype of integers or floats.")
        if len(header.shape) < 2 or min(header.shape) < 1:
            remedy = "Give at least one sample, samples first: [N, D] or images."
            raise UserError(where, f"has shape {header.shape}", remedy)
        if size != header.size:
            what = f"has {size} bytes, and its header says {header.size}"
            raise UserError(
                where, f"cannot be read (it {what})", "Save one array in it, and whole."
            )
        return header, self._sample_shape(header.shape, where)

    @contextlib.contextmanager
    def _opened(self, file: Path, where: str) -> Iterator[Opened]:
        """The bytes of the array, those of its header first, and how many there are."""
        if file.suffix.lower() == ".npy":
            with file.open("rb") as stream:
                yield stream, os.fstat(stream.fileno()).st_size
            return
        if file.suffix.lower() != ".npz":
            raise UserError(where, "is neither .npy nor .npz", "Save the array with numpy.save.")
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            names = [name.removesuffix(".npy") for name in members]
            listed = short(", ".join(names[:8]))
            if not names:
                raise UserError(where, "holds no arrays", "Save them with numpy.savez.")
            if self.key is None and len(names) != 1:
                what = f"holds {len(names)} arrays: {listed}"
                raise UserError(where, what, "Write dataset.key=NAME.")
            if self.key is not None and self.key not in names:
                what = f"is not among the arrays of {file.name}: {listed}"
                raise UserError(f"dataset.key={self.key}", what, "Write one of these.")
            member = f"{self.key or names[0]}.npy"
            with archive.open(member) as stream:
                yield stream, archive.getinfo(member).file_size

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
    """Whatever is said of a broken file, as the user's mistake."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        remedy = "Save it with numpy.save as .npy, of which only what is used is read."
        raise unreadable(where, error, remedy) from error
    except Exception as error:  # broken files raise nearly anything in numpy and zipfile
        raise unreadable(where, error, "Save plain numbers with numpy.save.") from error


def _read_header(stream: IO[bytes]) -> Header:
    """Raises nearly anything for a header that numpy did not write; none of it is executed."""
    head = io.BytesIO(stream.read(LONGEST))  # whatever length it claims
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"numpy has no format {version[0]}.{version[1]}")
    first = np.lib.format.read_array_header_1_0
    read = first if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Python 2 wrote, and of odd types
        shape, fortran, dtype = read(head)
    if len(shape) > AXES or max(map(abs, shape), default=0) > sys.maxsize:
        raise ValueError("no array has so large a shape")
    return Header(tuple(map(int, shape)), dtype, "F" if fortran else "C", head.tell())


def _kind(header: Header, sample: Shape) -> str:
    """What two splits must have in common."""
    numbers = "floats" if header.dtype.kind == "f" else "integers"
    return f"{numbers} of shape {sample}"


def _known_range(dtype: np.dtype[Any]) -> tuple[float | None, float | None]:
    """The range that a type says its values have; the other types say nothing."""
    high = {"b1": 1.0, "u1": 255.0, "u2": 65535.0}.get(dtype.str[1:])
    return (None, None) if high is None else (0.0, high)


def _refuse_other_bits(raw: Raw) -> None:
    """Booleans are bytes of 0 and 1, and numpy does not look whether they are."""
    if any(int(chunk.max()) > 1 for _, chunk in raw.chunks()):
        what = "holds booleans that are neither 0 nor 1"
        raise UserError(raw.origin, what, "Save them as numpy.uint8.")


def _torch_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The nearest that torch has: this machine's byte order, bytes for booleans, no wider floats."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype.newbyteorder("=")


def _as_it_is(header: Header, sample: Shape) -> bool:
    """Whether a tensor can lie over the numbers as they are stored."""
    flattened = len(sample) < len(header.shape) - 1
    same = header.dtype.isnative and header.dtype.itemsize <= 8
    aligned = header.offset % header.dtype.itemsize == 0
    return same and aligned and not (flattened and header.order == "F")


def _fill(array: np.ndarray, stream: IO[bytes], header: Header) -> None:
    """Fill an array of the header's shape from the stream, a part at a time: nothing is held twice."""
    array = array.T if header.order == "F" else array  # in the order of the stream
    step = max(1, CHUNK // math.prod(array.shape[1:]))
    stream.read(header.offset)  # in archives, zipfile compares no checksum after a seek
    for start in range(0, len(array), step):
        part = array[start : start + step]
        block = stream.read(part.size * header.dtype.itemsize)
        if len(block) < part.size * header.dtype.itemsize:
            raise ValueError("it ends early")
        numbers = np.frombuffer(block, header.dtype).reshape(part.shape)
        part[:] = numbers.view(np.uint8) if header.dtype.kind == "b" else numbers
    stream.read(1)  # at its end an archive compares the checksum
