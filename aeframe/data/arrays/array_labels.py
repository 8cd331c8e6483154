"""Labels of the samples in an array file, and names of its columns: whole numbers or texts."""

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
from aeframe.data.arrays.npy_header import read_header

WIDEST = 4096  # bytes of one label


class Labels(NamedTuple):
    """Class numbers [N], int64, and the names of the classes in order."""

    numbers: Tensor
    classes: tuple[str, ...]


class Wanted(NamedTuple):
    """Option that names an array with one text or whole number for each of `length` things."""

    option: str
    length: int
    thing: str

    @property
    def remedy(self) -> str:
        """Say what to save."""
        return f"Save one whole number or text for each {self.thing}."


def read_labels(name: str, file: Path, count: int) -> Labels:
    """Read the labels of `count` samples. Raises UserError.

    name: of an array in `file`, which is then an .npz, or of an .npy file of its own.
    """
    known, numbers = np.unique(
        _read(name, file, Wanted("labels", count, "sample")), return_inverse=True
    )
    return Labels(torch.from_numpy(numbers.reshape(-1).astype(np.int64)), _list_texts(known))


def read_names(name: str, file: Path, count: int) -> tuple[str, ...]:
    """Read the names of `count` columns, 0 for images. Raises UserError. name: see `read_labels`."""
    if count == 0:
        raise UserError(
            f"dataset.names={name}", "has no use: these samples are images", "Leave it out."
        )
    return _list_texts(_read(name, file, Wanted("names", count, "column")))


def _read(name: str, file: Path, wanted: Wanted) -> np.ndarray:
    """Read whole numbers or texts, [count]."""
    where = f"dataset.{wanted.option}={name}"
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
                    _check(stream, where, wanted)
                with archive.open(member) as stream:
                    return _clean(
                        np.lib.format.read_array(stream, allow_pickle=False), where, wanted
                    )
        own = Path(name).expanduser()
        if own.suffix.lower() != ".npy":
            remedy = (
                f"Write dataset.{wanted.option}=FILE.npy, or the name of an array in the .npz file."
            )
            raise UserError(where, f"is not an array of {file.name}", remedy)
        require_regular(own)
        with own.open("rb") as stream:
            _check(stream, where, wanted)
            stream.seek(0)
            return _clean(np.lib.format.read_array(stream, allow_pickle=False), where, wanted)
    except UserError:
        raise
    except Exception as error:  # broken files raise nearly anything in numpy and zipfile
        raise build_read_error(where, error, wanted.remedy) from error


def find_label_key(file: Path, trained: object) -> str | None:
    """Return the key of training's labels if the file is an archive that has it, else None."""
    if not isinstance(trained, str) or file.suffix.lower() != ".npz":
        return None
    with suppress(Exception), zipfile.ZipFile(file) as archive:  # a broken file is reported later
        return trained if f"{trained}.npy" in archive.namelist() else None
    return None


def _check(stream: IO[bytes], where: str, wanted: Wanted) -> None:
    """Raise UserError for an array of another shape or type, before it is read."""
    header, count = read_header(stream), wanted.length
    if header.shape not in ((count,), (count, 1)):
        what = f"has shape {header.shape}, and there are {count:,} {wanted.thing}s"
        raise UserError(where, what, wanted.remedy)
    if header.dtype.kind not in "biufUS" or header.dtype.itemsize > WIDEST:
        what = f"holds {shorten(header.dtype)}, which are not {wanted.option}"
        raise UserError(where, what, wanted.remedy)


def _clean(values: np.ndarray, where: str, wanted: Wanted) -> np.ndarray:
    """Return floats as whole numbers, [count]."""
    values = values.ravel()
    if values.dtype.kind != "f":
        return values
    if not (np.isfinite(values) & (values == np.round(values))).all():
        raise UserError(where, f"holds fractions, which are not {wanted.option}", wanted.remedy)
    return values.astype(np.int64)


def _list_texts(values: np.ndarray) -> tuple[str, ...]:
    texts = values.astype(np.str_) if values.dtype.kind != "S" else np.char.decode(values, "utf-8")
    return tuple(str(text) for text in texts.tolist())
