"""Shards in HDF5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aeframe.core.errors import UserError, shorten
from aeframe.data.archive import pick_name
from aeframe.data.shard import Shard
from aeframe.data.shards.array_shards import require_written

INSTALL = 'Install it: python -m pip install "aeframe[hdf5]".'


@dataclass(frozen=True)
class Hdf5Shard(Shard):
    """Rows of one data set of an HDF5 file. member: its name."""

    member: str = ""

    def read(self, start: int, place: np.ndarray) -> None:
        import h5py

        with h5py.File(self.path) as opened:
            place[:] = opened[self.member][start : start + len(place)]


def open_hdf5(path: Path, key: str | None, where: str) -> Shard:
    """Read the header of an HDF5 file. key: the name of the data set, where it holds several."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(where, "needs h5py", INSTALL) from error
    with h5py.File(path) as opened:
        names = list[str]()
        opened.visititems(lambda name, item: names.append(name) if hasattr(item, "dtype") else None)
        if not names:
            raise UserError(where, "holds no data sets", "Write the file again.")
        name = pick_name(names, key, where, path.name)
        shape, dtype = opened[name].shape, opened[name].dtype
        size, written = opened[name].nbytes, opened[name].id.get_storage_size()
    if dtype.kind not in "biuf":
        remedy = "Save it with a dtype of integers or floats."
        raise UserError(where, f"holds {shorten(dtype)}, not numbers", remedy)
    require_written(size, written, where)
    return Hdf5Shard(path, tuple(shape), np.dtype(dtype), member=name)
