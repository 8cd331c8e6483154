"""Data from Python, as files in a run's folder, which a resumed run and the command line read too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from aeframe.core.errors import UserError, build_read_error, describe_error
from aeframe.core.files import write_atomically
from aeframe.runs.containers import widen_bfloat16
from aeframe.runs.given_tables import needs_table, write_tables
from aeframe.runs.origin import DATA

OPTIONS = {"train": "path", "val": "val_path", "test": "test_path"}
"""Splits, and the options of dataset=array and dataset=table that name their files."""
TARGETS = {"train": "target", "val": "val_target", "test": "test_target"}
ARRAY, TABLE = "array", "table"
"""Options of `dataset` that read given data."""
LABELS, NAMES = "labels", "names"
LONGEST = 200  # letters of a column's name that are kept
TAKEN = (
    "Give an array, a tensor, a DataFrame, a torch Dataset, or a tuple of them: (train, test) or "
    "(train, val, test)."
)


class Given(NamedTuple):
    """Samples of a split [N, ...], their labels [N] and the names of their columns, if they have any."""

    samples: np.ndarray
    labels: np.ndarray | None = None
    names: np.ndarray | None = None


@dataclass(frozen=True)
class Pairs:
    """Data, and targets beside it: arrays, or tuples of as many."""

    data: Any
    target: Any


def pair(data: Any, target: Any) -> Any:
    """Put data and its targets together, if there are some. Raises UserError for targets alone."""
    if target is None:
        return data
    if data is None:
        raise UserError("target", "has no samples", "Write data=x, or dataset.target=FILE.")
    return Pairs(data, target)


def choose_dataset(data: Any) -> str:
    """Choose the option of `dataset` for given data: a DataFrame with texts, dates or gaps is a table."""
    if isinstance(data, Pairs):
        return choose_dataset(data.data)
    parts = data if isinstance(data, tuple) else (data,)
    return TABLE if any(map(needs_table, parts)) else ARRAY


def write_data(data: Any, folder: Path, dataset: str) -> dict[str, str]:
    """Write data as files into `folder`/given_data. Returns the options of `dataset` that name them.

    data: see TAKEN. dataset: array, for .npy files, or table, for Parquet. A memory-mapped .npy file is read
    where it is, without a copy. Files that are there already are kept. Raises UserError for data that cannot
    be used, or that is not the data in the files.
    """
    if isinstance(data, Pairs):
        return _write_pairs(data, folder, dataset)
    if dataset == TABLE:
        files = write_tables(_split(data), folder / DATA)
        return {OPTIONS[split]: file for split, file in files.items()}
    options = {}
    for split, part in _split(data).items():
        given = _convert(part, "data" if split == "train" else f"data ({split})")
        options[OPTIONS[split]] = _write(given.samples, folder / DATA / f"{split}.npy")
        for name, array in ((LABELS, given.labels), (NAMES, given.names)):
            if array is not None and split == "train":
                options[name] = _write(array, folder / DATA / f"{name}.npy")
    return options


def _write_pairs(pairs: Pairs, folder: Path, dataset: str) -> dict[str, str]:
    """Write data and targets; see `write_data`."""
    if dataset == TABLE:
        what = "stands beside a table, which has no targets"
        raise UserError("target", what, "Give the samples as numbers: data.to_numpy().")
    options, targets = write_data(pairs.data, folder, dataset), _split(pairs.target, "target")
    if targets.keys() != _split(pairs.data).keys():
        what = "has other splits than data"
        raise UserError("target", what, "Give tuples of the same length: (train, test) of both.")
    for split, part in targets.items():
        given = _convert(part, "target" if split == "train" else f"target ({split})")
        options[TARGETS[split]] = _write(given.samples, folder / DATA / f"{split}_target.npy")
    return options


def _split(data: Any, where: str = "data") -> Mapping[str, Any]:
    """Name the splits of the given data."""
    if not isinstance(data, tuple):
        return {"train": data}
    names = {1: ("train",), 2: ("train", "test"), 3: ("train", "val", "test")}.get(len(data))
    if names is None:
        raise UserError(where, f"is a tuple of {len(data)}", TAKEN)
    return dict(zip(names, data, strict=True))


def _convert(part: Any, where: str) -> Given:
    if isinstance(part, Dataset):
        return _collect(part, where)
    if isinstance(part, np.ma.MaskedArray):
        remedy = "Fill them first, e.g. data.filled(0), or leave these samples out."
        raise UserError(where, "has masked values", remedy)
    if hasattr(part, "select_dtypes"):
        _require_numbers(part, where)
    elif not isinstance(part, np.ndarray | Tensor) and not hasattr(part, "__array__"):
        raise UserError(where, f"is {type(part).__name__}, not samples", TAKEN)
    return Given(_convert_to_array(part, where), names=_name_columns(part))


def _name_columns(part: Any) -> np.ndarray | None:
    """Return the names of a DataFrame's columns. None if it has only numbers for them, and for other data."""
    names = list(getattr(part, "columns", ()))
    has_names = names != list(range(len(names)))
    return np.array([str(name)[:LONGEST] for name in names]) if has_names else None


def _require_numbers(table: Any, where: str) -> None:
    """Raise UserError for a DataFrame with columns that are not numbers."""
    others = list(table.select_dtypes(exclude=["number", "bool"]).columns)
    if others:
        named = ", ".join(map(str, others[:8]))
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        what = f"has columns that are not numbers: {named}{more}"
        raise UserError(where, what, "Leave dataset=array out: a table may have them.")


def _convert_to_array(part: Any, where: str) -> np.ndarray:
    part = widen_bfloat16(part)
    try:
        found = np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part)
        found = found.astype(np.float64) if found.dtype == object else found
    except (TypeError, ValueError) as error:
        what = f"holds values that are not numbers ({describe_error(error).rstrip('.')})"
        raise UserError(where, what, "Fill gaps, and leave out columns of text.") from error
    if found.dtype.kind not in "biuf":
        raise UserError(where, f"holds {found.dtype}, not numbers", TAKEN)
    # np.asarray would make a mapped file a plain array, and a copy of it would be written
    return part if isinstance(part, np.memmap) else found


def _collect(dataset: Any, where: str) -> Given:
    """Read all samples of a torch Dataset, each alone or with its label."""
    if not hasattr(dataset, "__len__"):
        raise UserError(where, "is a Dataset without a length", "Give its samples as an array.")
    if len(dataset) == 0:
        raise UserError(where, "holds no samples", "Give at least 3.")
    first, _ = _read_item(dataset[0], where)
    samples = np.empty((len(dataset), *first.shape), first.dtype)
    labels = list[Any]()
    for i in range(len(dataset)):
        sample, label = _read_item(dataset[i], where)
        if (sample.shape, sample.dtype) != (first.shape, first.dtype):
            kinds = " and ".join(f"{s.dtype} of shape {s.shape}" for s in (first, sample))
            raise UserError(where, f"has samples of {kinds}", "Give samples of one kind.")
        samples[i] = sample
        labels.append(label)
    is_labeled = all(label is not None for label in labels)
    return Given(samples, np.asarray(labels) if is_labeled else None)


def _read_item(item: Any, where: str) -> tuple[np.ndarray, Any]:
    """Return a sample and its label, or None without one. What is no single number or text is no label."""
    parts = list(item) if isinstance(item, tuple | list) else [item]
    label: Any = parts[1] if len(parts) == 2 else None
    if hasattr(label, "item"):  # a number of torch or NumPy
        label = label.item() if np.size(label) == 1 else None
    return _convert_to_array(parts[0], where), label if isinstance(label, int | str) else None


def _write(array: np.ndarray, file: Path) -> str:
    """Write an array, or compare it with the file that is there. Returns the path of the file."""
    if isinstance(array, np.memmap) and _is_whole_file(array):
        return str(Path(str(array.filename)).resolve())
    if file.exists():
        try:
            before = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise build_read_error(str(file), error, "Delete it, and start again.") from error
        same = before.dtype == array.dtype and before.shape == array.shape
        if not (same and np.array_equal(before, array, equal_nan=array.dtype.kind == "f")):
            what = f"is not the data that the run has in {file}"
            raise UserError("data", what, "Give the same data, or another folder.")
        return str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as opened:
        np.lib.format.write_array(opened, array, allow_pickle=False)
    return str(file)


def _is_whole_file(array: np.memmap) -> bool:
    """Check that an array is a whole .npy file, not a part of one."""
    name = array.filename
    # what was written into a map that copies is not in the file
    if name is None or array.mode not in ("r", "r+") or Path(str(name)).suffix.lower() != ".npy":
        return False
    array.flush()
    whole = np.load(name, mmap_mode="r", allow_pickle=False)
    same = whole.shape == array.shape and whole.dtype == array.dtype
    return bool(same and whole.strides == array.strides and whole.offset == array.offset)
