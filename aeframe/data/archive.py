"""Names of the arrays in a file that holds several."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

from aeframe.core.errors import UserError, shorten


def pick_member(
    archive: zipfile.ZipFile, key: str | None, where: str, file: str, option: str = "key"
) -> str:
    """Pick the member of an .npz file that `pick_name` picks. Raises UserError."""
    names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    if not names:
        raise UserError(where, "holds no arrays", "Save them with numpy.savez.")
    if {"indices", "indptr", "data", "shape", "format"} <= set(names):
        remedy = (
            "Save x.toarray() with numpy.save. To train on the codes of a run, write dataset=codes."
        )
        raise UserError(where, "holds a sparse matrix of SciPy, not an array", remedy)
    return f"{pick_name(names, key, where, file, option)}.npy"


def pick_name(
    names: Sequence[str], key: str | None, where: str, file: str, option: str = "key"
) -> str:
    """Pick the array with the name `key` in a file, or the only one. Raises UserError.

    option: the key of the configuration that gives the name.
    """
    listed = shorten(", ".join(names[:8]))
    if key is None and len(names) != 1:
        what = f"holds {len(names)} arrays: {listed}"
        raise UserError(where, what, f"Write dataset.{option}=NAME.")
    if key is not None and key not in names:
        what = f"is not among the arrays of {file}: {listed}"
        raise UserError(f"dataset.{option}={key}", what, "Write one of these.")
    return key or names[0]
