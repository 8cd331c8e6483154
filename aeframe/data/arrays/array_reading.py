"""Samples of an array file, mapped into memory or read in parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from aeframe.core.errors import UserError, build_read_error
from aeframe.data.arrays.npy_header import Header, fill_array
from aeframe.data.layouts import Layout, is_channels_last
from aeframe.data.memory_map import Mapped, allocate, get_torch_dtype, map_array
from aeframe.data.source import Shape


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


def map_samples(stream: IO[bytes], one: Described) -> Mapped:
    """Map the samples into memory, [N, *sample]."""
    header = one.header
    dtype, offset = get_torch_dtype(header.dtype), header.offset
    array, mapping = map_array(stream, dtype, header.shape, offset=offset, order=header.order)
    if one.is_channels_last:
        array = np.moveaxis(array, -1, 1)
    return Mapped(array.reshape(len(array), *one.sample), mapping)


def read_samples(stream: IO[bytes], one: Described) -> np.ndarray:
    """Read the samples into memory, [N, *sample]."""
    header = one.header
    array = allocate((header.shape[0], *one.sample), get_torch_dtype(header.dtype))
    last = one.is_channels_last
    as_stored = np.moveaxis(array, 1, -1) if last else array.reshape(header.shape)
    fill_array(as_stored, stream, header)
    return array


def can_be_mapped(one: Described) -> bool:
    """Check whether a tensor can share the memory of the stored numbers."""
    header = one.header
    flattened = len(one.sample) < len(header.shape) - 1
    same = header.dtype.isnative and header.dtype.itemsize <= 8
    aligned = header.offset % header.dtype.itemsize == 0
    return same and aligned and not (flattened and header.order == "F")


def describe_kind(one: Described) -> str:
    """Describe the properties that two splits must share."""
    return f"{'floats' if one.header.is_float else 'integers'} of shape {one.sample}"


@contextlib.contextmanager
def translate_errors(where: str) -> Iterator[None]:
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
