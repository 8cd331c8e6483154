"""Shards of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow
import torch
from pyarrow import parquet
from safetensors import numpy as safetensors_of_numpy
from safetensors import torch as safetensors_of_torch

ENDS = (130, 137, 500)  # rows where a file ends
ROWS = np.random.default_rng(0).normal(size=(700, 6)).astype(np.float32)
GROUP = 50  # rows of a group of Parquet


def _columns(file: Path, x: np.ndarray) -> None:
    table = pyarrow.table({f"c{i}": column for i, column in enumerate(x.T)})
    parquet.write_table(table, file, row_group_size=GROUP)


def _fixed_lists(file: Path, x: np.ndarray) -> None:
    lists = pyarrow.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1])
    table = pyarrow.table({"text": [str(i) for i in range(len(x))], "vector": lists})
    parquet.write_table(table, file, row_group_size=GROUP)


def _lists(file: Path, x: np.ndarray) -> None:
    lists = pyarrow.array(x.tolist(), pyarrow.list_(pyarrow.float32()))
    parquet.write_table(pyarrow.table({"vector": lists}), file, row_group_size=GROUP)


def _hdf5(file: Path, x: np.ndarray) -> None:
    with h5py.File(file, "w") as opened:
        opened["layer/x"] = x


def _bfloat16(file: Path, x: np.ndarray) -> None:
    safetensors_of_torch.save_file({"x": torch.from_numpy(x).bfloat16()}, file)


KINDS: dict[str, tuple[str, Callable[[Path, np.ndarray], object]]] = {
    "npy": (".npy", np.save),
    "npy, big-endian": (".npy", lambda file, x: np.save(file, x.astype(">f4"))),
    "npz": (".npz", lambda file, x: np.savez(file, x=x)),
    "npz, compressed": (".npz", lambda file, x: np.savez_compressed(file, x=x)),
    "safetensors": (".safetensors", lambda f, x: safetensors_of_numpy.save_file({"x": x}, f)),
    "bfloat16": (".safetensors", _bfloat16),
    "parquet, columns": (".parquet", _columns),
    "parquet, lists of one length": (".parquet", _fixed_lists),
    "parquet, lists": (".parquet", _lists),
    "hdf5": (".h5", _hdf5),
}


def write_shards(folder: Path, x: np.ndarray = ROWS, kind: str = "npy") -> Path:
    """Write rows as shards that end at ENDS; the natural order of their names is that of the rows."""
    ending, write = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    for i, part in enumerate(np.split(x, ENDS)):
        write(folder / f"part{5 * i}{ending}", np.ascontiguousarray(part))  # part5 before part10
    return folder


def expected(kind: str, x: np.ndarray = ROWS) -> torch.Tensor:
    """Return the rows as they are read back."""
    return torch.from_numpy(x).bfloat16() if kind == "bfloat16" else torch.from_numpy(x)
