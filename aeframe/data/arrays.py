"""Samples from an array in a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aeframe.data.samples import Raw, Shape, Source
from aeframe.errors import Problem, UserError

Layout = Literal["auto", "chw", "hwc", "flat"]


class Array(Source):
    """A `.npy` file (memory-mapped) or one array of an `.npz` file, samples first.

    path: the file. test_path: another for the test split. key: the array's name in an `.npz`.
    layout: of the samples; `auto` reads [N, D] as vectors, [N, H, W] as grey images, and four axes as
    channels last where the last has 1, 3 or 4 entries, else as channels first.
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
            return None if self.path is None else tuple(self._open(self.path, "path").shape[1:])
        except UserError:
            return None

    def problems(self) -> list[Problem]:
        if self.path is None:
            return [Problem("dataset.path", "no file given", "Write dataset.path=FILE.npy.")]
        found: list[Problem] = []
        for option, path in (("path", self.path), ("test_path", self.test_path)):
            try:
                if path is not None:
                    self._open(path, option)
            except UserError as error:
                found.extend(error.problems)
        return found

    def load(self) -> Raw:
        assert self.path is not None
        array = self._open(self.path, "path")
        test = None
        if self.test_path is not None:
            test = self._open(self.test_path, "test_path")
            if test.shape[1:] != array.shape[1:]:
                what = f"its samples have shape {test.shape[1:]}, those of dataset.path {array.shape[1:]}"
                raise UserError(f"dataset.test_path={self.test_path}", what, "Give like samples.")
        low, high = _known_range(array)
        tested = None if test is None else Raw(_tensor(test), low=low, high=high)
        return Raw(_tensor(array), test=tested, low=low, high=high)

    def _open(self, path: str, option: str) -> np.ndarray:
        """The array with samples as (D,) or (C, H, W), not yet read where it can be mapped."""
        where = f"dataset.{option}={path}"
        array = self._read(Path(path).expanduser(), where)
        if array.dtype.kind not in "biuf":
            what = f"holds {array.dtype}, not numbers"
            raise UserError(where, what, "Save it with a dtype of integers or floats.")
        if array.ndim < 2 or 0 in array.shape:
            what = f"has shape {array.shape}"
            raise UserError(
                where, what, "Give at least one sample, samples first: [N, D] or images."
            )
        return self._arrange(array, where)

    def _read(self, file: Path, where: str) -> np.ndarray:
        if not file.is_file():
            raise UserError(where, "no such file", "Write dataset.path=FILE.npy.")
        try:
            if file.suffix == ".npy":
                # copy-on-write: nothing is ever written to the file
                return np.load(file, mmap_mode="c", allow_pickle=False)
            if file.suffix == ".npz":
                return self._read_npz(file, where)
        except (OSError, ValueError, EOFError, KeyError) as error:
            reason = str(error).splitlines()[0]
            what = f"cannot be read ({reason})"
            raise UserError(where, what, "Save plain numbers with numpy.save.") from error
        raise UserError(where, "is neither .npy nor .npz", "Save the array with numpy.save.")

    def _read_npz(self, file: Path, where: str) -> np.ndarray:
        with np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            if self.key is None and len(names) != 1:
                what = f"holds {len(names)} arrays: {', '.join(names[:8])}"
                raise UserError(where, what, "Write dataset.key=NAME.")
            if self.key is not None and self.key not in names:
                what = f"is not among the arrays of {file.name}: {', '.join(names[:8])}"
                raise UserError(f"dataset.key={self.key}", what)
            return arrays[self.key or names[0]]

    def _arrange(self, array: np.ndarray, where: str) -> np.ndarray:
        layout = self.layout
        if layout == "auto":
            by_axes = {2: "flat", 3: "chw", 4: "hwc" if array.shape[-1] in (1, 3, 4) else "chw"}
            layout = by_axes.get(array.ndim, "flat")  # type: ignore[assignment]
        if layout == "flat":
            return array.reshape(len(array), math.prod(array.shape[1:]))
        if array.ndim == 3:
            return array[:, None]
        if array.ndim != 4:
            what = f"has shape {array.shape}, which dataset.layout={layout} cannot be"
            raise UserError(where, what, "Write dataset.layout=flat.")
        return array.transpose(0, 3, 1, 2) if layout == "hwc" else array


def _known_range(array: np.ndarray) -> tuple[float | None, float | None]:
    """Bytes are 0..255, wherever the values of this file happen to lie; nothing else is certain."""
    return (0, 255) if array.dtype == np.uint8 else (None, None)


def _tensor(array: np.ndarray) -> Tensor:
    """Without a copy, but for the byte orders and dtypes that torch cannot index."""
    native = array.dtype.newbyteorder("=")
    wider = {"u2": np.int32, "u4": np.int64, "u8": np.float64, "b1": np.uint8, "f16": np.float64}
    target = wider.get(native.str[1:], native)
    return torch.from_numpy(array if array.dtype == target else array.astype(target))
