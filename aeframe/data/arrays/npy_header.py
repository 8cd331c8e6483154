"""Headers and numbers of .npy files, which may be damaged or malicious."""

from __future__ import annotations

import io
import math
import sys
import warnings
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np

from aeframe.data.rows import CHUNK
from aeframe.data.source import Shape

LONGEST = 2**14  # bytes of a header; NumPy writes some hundred and accepts 10,000
AXES = 64  # of an array, numpy's limit
BFLOAT16 = b"'<V2'"
"""Name of bfloat16 in files of ml_dtypes and JAX; NumPy itself writes '|V2' for untyped bytes."""


@dataclass(frozen=True)
class Header:
    """The header of an array file.

    shape: [N, ...]. order: of the numbers, C or Fortran. offset: bytes before them. bfloat16: whether
    they have this type, which NumPy does not have; dtype is then that of their bits.
    """

    shape: Shape
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int
    bfloat16: bool = False

    @property
    def size(self) -> int:
        """The size of the whole file in bytes."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_float(self) -> bool:
        """Check whether the numbers are floats."""
        return self.bfloat16 or self.dtype.kind == "f"


def read_header(stream: IO[bytes]) -> Header:
    """Read a header; nothing in it is executed. Raises exceptions of many kinds for a damaged one."""
    head = io.BytesIO(stream.read(LONGEST))  # at most, whatever length it claims
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"numpy has no format {version[0]}.{version[1]}")
    first = np.lib.format.read_array_header_1_0
    read = first if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files of Python 2, and odd types
        shape, fortran, dtype = read(head)
    if len(shape) > AXES or max(map(abs, shape), default=0) > sys.maxsize:
        raise ValueError("its shape is too large for an array")
    bfloat16 = dtype == np.dtype("V2") and BFLOAT16 in head.getvalue()[: head.tell()]
    return Header(
        tuple(map(int, shape)),
        np.dtype("<u2") if bfloat16 else dtype,
        "F" if fortran else "C",
        head.tell(),
        bfloat16,
    )


def fill_array(array: np.ndarray, stream: IO[bytes], header: Header) -> None:
    """Fill an array of the header's shape from the stream, in parts, without a second copy."""
    array = array.T if header.order == "F" else array  # in the order of the stream
    step = max(1, CHUNK // math.prod(array.shape[1:]))
    stream.read(header.offset)  # not seek: zipfile would skip the checksum of the archive
    for start in range(0, len(array), step):
        part = array[start : start + step]
        block = stream.read(part.size * header.dtype.itemsize)
        if len(block) < part.size * header.dtype.itemsize:
            raise ValueError("it ends early")
        numbers = np.frombuffer(block, header.dtype).reshape(part.shape)
        part[:] = numbers.view(np.uint8) if header.dtype.kind == "b" else numbers
    stream.read(1)  # zipfile compares the checksum at the end
