"""MATLAB files of format 5, such as those of SVHN. Headers are checked before any array is read."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import require_room

HEADER, FORMAT = (
    128,
    b"\x00\x01IM",
)  # bytes of a file's header, and how it ends: version, byte order


def read_mat(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Read arrays of unsigned bytes by name, with reversed axes: MATLAB stores the last axis outermost.

    Raises exceptions of many kinds for damaged files and other arrays. While it unpacks an array, SciPy
    holds what 128 KiB of the file unpack to in addition: at most 135 MB.
    """
    from scipy.io import loadmat

    with open_regular(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if stream.read(HEADER)[-len(FORMAT) :] != FORMAT:
            raise ValueError("it is not a MATLAB file of format 5")
        _check_headers(stream, names)
        found = loadmat(stream, variable_names=names)
    for name in names:
        if found[name].dtype != np.uint8:
            raise ValueError(f"its {name} is not an array of bytes")
    return {name: found[name].T for name in names}


def _check_headers(stream: BinaryIO, names: Collection[str]) -> None:
    """Raise ValueError for arrays that are missing, empty or not bytes, MemoryError for too large ones."""
    from scipy.io import whosmat

    stored = {name: (shape, kind) for name, shape, kind in reversed(whosmat(stream))}
    for name in names:
        if name not in stored:
            raise ValueError(f"it has no array {name}")
        shape, kind = stored[name]
        if kind != "uint8":
            raise ValueError(f"its {name} is not an array of bytes")
        if min(shape, default=0) < 1:
            raise ValueError(f"its {name} has 0 bytes for the shape {shape}")
    require_room(sum(math.prod(stored[name][0]) for name in names))
