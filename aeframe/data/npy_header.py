"""Headers of .npy files, which may be anyone's."""

from __future__ import annotations

import io
import math
import sys
import warnings
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np

from aeframe.data.source import Shape

LONGEST = 2**14  # bytes of a header; numpy writes some hundred and believes 10,000
AXES = 64  # of an array, numpy's limit
BFLOAT16 = b"'<V2'"
"""ml_dtypes, and with it JAX, names bfloat16 so; numpy itself names two bytes of no type '|V2'."""


@dataclass(frozen=True)
class Header:
    """The header of an array file: what stands before the numbers.

    shape: [N, ...]. order: in which the numbers lie, C or Fortran's. offset: where they begin. bfloat16: the
    numbers are of this type, which numpy lacks; dtype is then that of their bits.
    """

    shape: Shape
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int
    bfloat16: bool = False

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_float(self) -> bool:
        """Check that the numbers are floats."""
        return self.bfloat16 or self.dtype.kind == "f"


def read_header(stream: IO[bytes]) -> Header:
    """Read a header. Raises nearly anything for one that numpy did not write; none of it is executed."""
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
    bfloat16 = dtype == np.dtype("V2") and BFLOAT16 in head.getvalue()[: head.tell()]
    return Header(
        tuple(map(int, shape)),
        np.dtype("<u2") if bfloat16 else dtype,
        "F" if fortran else "C",
        head.tell(),
        bfloat16,
    )
