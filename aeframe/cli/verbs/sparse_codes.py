"""Sparse codes in a file: only active units, as scipy.sparse.save_npz writes a matrix (CSR)."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from aeframe.cli.verbs.outputs import replace_file
from aeframe.core.errors import UserError, build_read_error
from aeframe.runs.model import Model

FORMAT = "format"
MEMBERS = ("indices", "indptr", "data", "shape", FORMAT)
"""Arrays of the file, named as SciPy names them."""
REMEDY = "Give codes that encode wrote."


def are_codes_sparse(model: Model) -> bool:
    """Check whether most units of a code are exactly 0; a logistic unit never is."""
    import torch

    x = torch.zeros(1, *model.shape, dtype=model.net.normalization.scale.dtype, device=model.device)
    return model.net.is_sparse and bool(model.net.encode(x).floor == 0)


def write_sparse(
    out: Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, int],
    texts: Mapping[str, Sequence[str]],
) -> int:
    """Write blocks of codes, [n, units], and return the number of active units of all.

    Memory holds one block: the numbers wait in temporary files. texts: columns with a text for each row.
    """
    blocks = iter(blocks)
    first = next(blocks)  # an error comes before the file is made
    ends, count = [np.zeros(1, np.int64)], 0
    with replace_file(out) as file, ExitStack() as stack:
        values, indices = (
            stack.enter_context(tempfile.TemporaryFile(dir=out.absolute().parent)) for _ in range(2)
        )
        for block in chain([first], blocks):
            rows, columns = np.nonzero(block)
            values.write(block[rows, columns].tobytes())
            indices.write(columns.astype(np.int32).tobytes())
            ends.append(count + np.bincount(rows, minlength=len(block)).cumsum())
            count += len(columns)
        with zipfile.ZipFile(file, "w") as archive:
            _copy(archive, "indices", indices, np.dtype(np.int32), count)
            _copy(archive, "data", values, first.dtype, count)
            whole = {
                "indptr": np.concatenate(ends),
                "shape": np.array(shape),
                FORMAT: np.array(b"csr"),
                **{f"{column}s": np.array(t, np.str_) for column, t in texts.items()},
            }
            for name, array in whole.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array(member, array)
    return count


def _copy(
    archive: zipfile.ZipFile, name: str, numbers: IO[bytes], dtype: np.dtype[Any], count: int
) -> None:
    """Copy the numbers in a temporary file into the archive, as an array."""
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    numbers.seek(0)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, header)
        shutil.copyfileobj(numbers, member, 2**20)


def has_sparse_codes(path: Path) -> bool:
    """Check whether an .npz file holds a sparse matrix and not arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in MEMBERS} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):  # a broken file is reported later
        return False


def read_sparse(path: Path) -> Any:
    """Read a sparse matrix of SciPy, [N, units]. Raises UserError for a damaged one."""
    from scipy import sparse

    try:
        found = sparse.load_npz(path).tocsr()
        found.check_format(full_check=True)
    except Exception as error:  # broken files raise nearly anything
        raise build_read_error(str(path), error, REMEDY) from error
    if found.dtype.kind not in "biuf":
        raise UserError(str(path), f"holds {found.dtype}, not numbers", REMEDY)
    return found
