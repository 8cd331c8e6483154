"""Labels of the samples in an array file: whole numbers or texts."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import UserError, build_read_error, shorten
from aeframe.core.regular_files import require_regular
from aeframe.data.npy_header import read_header

WIDEST = 4096  # bytes of one label
REMEDY = "Save one whole number or text for each sample."


class Labels(NamedTuple):
    """Class numbers [N], int64, and the names of the classes in order."""

    numbers: Tensor
    classes: tuple[str, ...]


def read_labels(name: str, file: Path, count: int) -> Labels:
    """Read the labels of `count` samples. Raises UserError.

    name: of an array in `file`, which is then an .npz, or of an .npy file of its own.
    """
    where = f"dataset.labels={name}"
    try:
        if file.suffix.lower() == ".npz" and not name.lower().endswith(".npy"):
            with zipfile.ZipFile(file) as archive:
                member = f"{name}.npy"
                if member not in archive.namelist():
                    known = [one.removesuffix(".npy") for one in archive.namelist()]
                    what = (
                        f"is not among the arrays of {file.name}: {shorten(', '.join(known[:8]))}"
                    )
                    raise UserError(where, what, "Write one of these.")
                with archive.open(member) as stream:
                    _check(stream, where, count)
                with archive.open(member) as stream:
                    return _number(np.lib.format.read_array(stream, allow_pickle=False), where)
        own = Path(name).expanduser()
        if own.suffix.lower() != ".npy":
            remedy = "Write dataset.labels=FILE.npy, or the name of an array in the .npz file."
            raise UserError(where, f"is not an array of {file.name}", remedy)
        require_regular(own)
        with own.open("rb") as stream:
            _check(stream, where, count)
            stream.seek(0)
            return _number(np.lib.format.read_array(stream, allow_pickle=False), where)
    except UserError:
        raise
    except Exception as error:  # broken files raise nearly anything in numpy and zipfile
        raise build_read_error(where, error, REMEDY) from error


def find_label_key(file: Path, trained: object) -> str | None:
    """Return the key of training's labels if the file is an archive that has it, else None."""
    if not isinstance(trained, str) or file.suffix.lower() != ".npz":
        return None
    with suppress(Exception), zipfile.ZipFile(file) as archive:  # a broken file is reported later
        return trained if f"{trained}.npy" in archive.namelist() else None
    return None


def _check(stream: IO[bytes], where: str, count: int) -> None:
    """Raise UserError for labels of another shape or type, before they are read."""
    header = read_header(stream)
    if header.shape not in ((count,), (count, 1)):
        what = f"has shape {header.shape}, and there are {count:,} samples"
        raise UserError(where, what, REMEDY)
    if header.dtype.kind not in "biufUS" or header.dtype.itemsize > WIDEST:
        raise UserError(where, f"holds {shorten(header.dtype)}, which are not labels", REMEDY)


def _number(values: np.ndarray, where: str) -> Labels:
    values = values.ravel()
    if values.dtype.kind == "f":
        if not (np.isfinite(values) & (values == np.round(values))).all():
            raise UserError(where, "holds fractions, which are not labels", REMEDY)
        values = values.astype(np.int64)
    known, numbers = np.unique(values, return_inverse=True)
    texts = known.astype(np.str_) if known.dtype.kind != "S" else np.char.decode(known, "utf-8")
    names = tuple(str(text) for text in texts.tolist())
    return Labels(torch.from_numpy(numbers.reshape(-1).astype(np.int64)), names)
