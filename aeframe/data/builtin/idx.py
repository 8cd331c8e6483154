"""The idx format of MNIST: magic number, sizes (big-endian), values."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import IO

import numpy as np

from aeframe.core.errors import build_read_error
from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import Mapped, map_array, read_bytes


def read_idx(path: Path, sample: tuple[int, ...]) -> Mapped:
    """Read unsigned bytes [N, *sample], memory-mapped, or in memory if the file is compressed (.gz).

    Raises UserError with the name of the file if it is damaged or has other content.
    """
    try:
        if path.suffix == ".gz":
            with open_regular(path) as packed, gzip.open(packed) as unpacked:
                array = read_bytes(unpacked, _read_shape(unpacked, sample))
                if unpacked.read(1):
                    raise ValueError(f"it has more than {array.size} values")
                return Mapped(array, None)
        with open_regular(path) as stream:
            shape = _read_shape(stream, sample)
            offset, size = stream.tell(), path.stat().st_size
            if size - offset != math.prod(shape):
                raise ValueError(f"it has {size - offset} values, but its header says {shape}")
            return map_array(stream, np.dtype(np.uint8), shape, offset=offset)
    except Exception as error:  # a damaged file raises many kinds in gzip
        remedy = "Delete the file to download it again."
        raise build_read_error(str(path), error, remedy) from error


def _read_shape(stream: IO[bytes] | gzip.GzipFile, sample: tuple[int, ...]) -> tuple[int, ...]:
    axes = len(sample) + 1
    if stream.read(4) != bytes((0, 0, 8, axes)):
        raise ValueError(f"it is not an idx file of bytes with {axes} axes")
    shape = tuple(np.frombuffer(stream.read(4 * axes), ">u4", axes).tolist())
    if shape[1:] != sample or shape[0] == 0:
        raise ValueError(f"it has the shape {shape}")
    return shape
