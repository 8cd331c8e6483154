"""Broken shards: one message each, with the file and what to do."""
# ruff: noqa: E501 (the table keeps each file and its message on one line)

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from safetensors import numpy as safetensors_of_numpy

from aeframe.core.errors import UserError
from aeframe.data import DataModule, Shards
from tests.support.shards import KINDS, ROWS, write_shards

GOOD = ROWS[:10]
Break = Callable[[Path], object]


def cut(kind: str, size: int) -> Break:
    """Write a shard without its last bytes."""

    def write(folder: Path) -> None:
        ending, save = KINDS[kind]
        save(file := folder / f"b{ending}", GOOD)
        file.write_bytes(file.read_bytes()[:-size])

    return write


def saved(x: Any, name: str = "b.npy") -> Break:
    return lambda folder: np.save(folder / name, x)


def claim_packed(folder: Path) -> None:
    """Write an archive of a few bytes whose header and directory claim 4 GB."""
    head = io.BytesIO()
    shape = (10**9 * 4 // 24, 6)
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(folder / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head.getvalue())
    claimed = len(head.getvalue()) + math.prod(shape) * 4
    true, false = (struct.pack("<I", size) for size in (len(head.getvalue()), claimed))
    (folder / "b.npz").write_bytes((folder / "b.npz").read_bytes().replace(true, false))


def claim_unwritten(folder: Path) -> None:
    """Write an HDF5 file that claims 240 GB and holds none of it."""
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("x", (10**10, 6), "f4", chunks=(1024, 6))


def text(name: str, content: str = "1,2,3\n") -> Break:
    return lambda folder: (folder / name).write_text(content)


def table(**columns: Any) -> Break:
    return lambda folder: parquet.write_table(pyarrow.table(columns), folder / "b.parquet")


def holds(column: int, value: float) -> np.ndarray:
    x = GOOD.copy()
    x[3:5, column] = value
    return x


def hdf5(**members: Any) -> Break:
    def write(folder: Path) -> None:
        with h5py.File(folder / "b.h5", "w") as opened:
            for name, x in members.items():
                opened[name] = x

    return write


def doubled(folder: Path) -> None:
    two = pyarrow.Table.from_arrays([pyarrow.array([1.0])] * 2, ["x", "x"])
    parquet.write_table(two, folder / "b.parquet")


AGAIN = "Write the file again, or leave it out."
REFUSED: dict[str, tuple[Break, str]] = {
    "another width": (saved(ROWS[:4, :5]), "/b.npy: holds rows of 5 numbers, a.npy rows of 6 numbers. All files must hold rows of one shape."),
    "more axes": (saved(ROWS[:4].reshape(4, 2, 3)), "/b.npy: holds rows of 2 x 3 numbers, a.npy rows of 6 numbers."),
    "another type": (saved(GOOD.astype(np.float16)), "/b.npy: holds float16, a.npy holds float32. Save all files with one type."),
    "one axis": (saved(ROWS[0]), "/b.npy: has shape (6,). Give rows of numbers: [n, D], or [n, ...]."),
    "no rows": (saved(ROWS[:0]), "/b.npy: holds no rows. Leave it out."),
    "no columns": (saved(ROWS[:, :0]), "/b.npy: has shape (700, 0). Give rows with at least one number."),
    "texts": (saved(np.array([["a", "b"]])), "/b.npy: holds <U1, not numbers."),
    "complex numbers": (saved(GOOD.astype(complex)), "/b.npy: holds complex128, not numbers."),
    "objects": (saved(np.array([[None, 1]])), "/b.npy: holds object, not numbers."),
    "Fortran order": (saved(np.asfortranarray(GOOD)), "/b.npy: is in Fortran order, in which the numbers of a row do not lie together. Save numpy.ascontiguousarray(x)."),
    "a cut .npy": (cut("npy", 8), f"/b.npy: has 360 bytes instead of the 368 of its header. {AGAIN}"),
    "a cut .npz": (cut("npz", 30), f"/b.npz: cannot be read (File is not a zip file). {AGAIN}"),
    "a cut .safetensors": (cut("safetensors", 8), "/b.safetensors: cannot be read ("),
    "a cut .parquet": (cut("parquet, columns", 8), "/b.parquet: cannot be read ("),
    "a cut .h5": (cut("hdf5", 300), "/b.h5: cannot be read ("),
    "an empty .npy": (text("b.npy", ""), "/b.npy: cannot be read ("),
    "a text named .parquet": (text("b.parquet"), "/b.parquet: cannot be read ("),
    "a text named .safetensors": (text("b.safetensors"), "/b.safetensors: cannot be read ("),
    "a text named .h5": (text("b.h5"), "/b.h5: cannot be read ("),
    "NaN": (saved(holds(2, np.nan)), "/b.npy: row 3 (from 0) holds NaN, infinity or values beyond float32, and 1 rows after it do. Remove such rows or replace the values before training."),
    "infinity": (saved(holds(0, -np.inf)), "/b.npy: row 3 (from 0) holds NaN, infinity"),
    "an archive of two arrays": (lambda f: np.savez(f / "b.npz", x=GOOD, y=GOOD), "/b.npz: holds 2 arrays: x, y. Write dataset.key=NAME."),
    "an archive of none": (lambda f: np.savez(f / "b.npz"), "/b.npz: holds no arrays. Save them with numpy.savez."),
    "tensors of two names": (lambda f: safetensors_of_numpy.save_file({"x": GOOD, "y": GOOD}, f / "b.safetensors"), "/b.safetensors: holds 2 arrays: x, y. Write dataset.key=NAME."),
    "two data sets": (hdf5(x=GOOD, y=GOOD), "/b.h5: holds 2 arrays: x, y. Write dataset.key=NAME."),
    "no data sets": (hdf5(), "/b.h5: holds no data sets."),
    "a data set of texts": (hdf5(x=np.array([[b"a"]])), "/b.h5: holds |S1, not numbers."),
    "an archive that claims more than it holds": (claim_packed, "/b.npz: claims 4,000,000,112 bytes, but only "),
    "a data set that was not written": (claim_unwritten, f"/b.h5: claims 240,000,000,000 bytes, but only 0 bytes of them were written, compressed. {AGAIN}"),
    "columns of text": (table(x=[1.0], y=["a"]), "/b.parquet: holds columns of string, not numbers. Leave such columns out, or write dataset=table, which takes every kind of column."),
    "lists of text": (table(x=[["a"]]), "/b.parquet: holds columns of string, not numbers."),
    "lists of two columns": (table(x=[[1.0]], y=[[1.0]]), "/b.parquet: holds 2 arrays: x, y. Write dataset.key=NAME."),
    "lists of other lengths": (table(x=pyarrow.array([GOOD[0].tolist(), [1.0]], pyarrow.list_(pyarrow.float32()))), f"/b.parquet: cannot be read (row 1 (from 0) has 1 numbers instead of 6). {AGAIN}"),
    "a missing list": (table(x=pyarrow.array([GOOD[0].tolist(), None], pyarrow.list_(pyarrow.float32()))), "/b.parquet: cannot be read (row 1 (from 0) has a missing value)."),
    "a missing number in a list": (table(x=pyarrow.array([[*GOOD[0].tolist()[:5], None]], pyarrow.list_(pyarrow.float32()))), "/b.parquet: cannot be read (row 0 (from 0) has a missing value)."),
    "two columns of one name": (doubled, "/b.parquet: has the column x more than once (columns 1 and 2). Give each column a name of its own."),
    "a missing number": (table(**{c: pyarrow.array([1.0, None], pyarrow.float32()) for c in "abcdef"}), "/b.parquet: cannot be read (row 1 (from 0) has a missing value)."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_shard_is_named(tmp_path: Path, case: str) -> None:
    write, wanted = REFUSED[case]
    np.save(tmp_path / "a.npy", GOOD)
    write(tmp_path)
    source = Shards(path=str(tmp_path))
    problems = source.problems()
    if not problems:  # the numbers, not the header
        with pytest.raises(UserError) as caught:
            DataModule(source=source, seed=0).setup()
        problems = list(caught.value.problems)
    (problem,) = problems
    assert str(problem).startswith(f"{tmp_path}{wanted}")
    assert problem.remedy


def test_numbers_of_a_broken_shard_are_found_when_they_are_read(tmp_path: Path) -> None:
    x = ROWS.copy()
    x[600, 1] = np.nan
    source = Shards(path=str(write_shards(tmp_path / "x", x)), window=0.001)
    data = DataModule(source=source, seed=0, in_memory=False, val_fraction=0, batch_size=64)

    def read_all() -> None:
        data.setup()
        for split in data.splits:
            list(data.make_loader(split))

    with pytest.raises(UserError, match=r"part15.npy: row 100 \(from 0\) holds NaN"):
        read_all()


PATHS: dict[str, tuple[Any, str]] = {
    "nothing": (None, "dataset.path: no files given. Write dataset.path='FOLDER/*.npy'."),
    "no such file": ("{}/c.npy", "dataset.path={}/c.npy: no such file. Give files that exist, a folder or a pattern."),
    "an empty folder": ("{}/empty", "dataset.path={}/empty: holds no file that ends in .npy, .npz, .safetensors, .parquet, .h5, .hdf5. Write dataset.path=FOLDER/*.npy."),
    "a pattern of nothing": ("{}/*.npz", "dataset.path={}/*.npz: matches no files. Correct the pattern; quote it in the shell."),
    "a file twice": (["{}/a.npy", "{}/*.npy"], "dataset.path: names {}/a.npy twice. Name each file once."),
    "no list": ([], "dataset.path: names no files. Name some."),
    "a table": ("{}/a.csv", "dataset.path={}/a.csv: ends in none of .npy, .npz, .safetensors, .parquet, .h5, .hdf5. Give files of these kinds."),
}  # fmt: skip


@pytest.mark.parametrize("case", PATHS)
def test_a_path_without_shards(tmp_path: Path, case: str) -> None:
    path, wanted = PATHS[case]
    np.save(tmp_path / "a.npy", GOOD)
    (tmp_path / "a.csv").write_text("1,2\n")
    (tmp_path / "empty").mkdir()
    put = str(tmp_path)
    given = [p.format(put) for p in path] if isinstance(path, list) else path and path.format(put)
    assert list(map(str, Shards(path=given).problems())) == [wanted.format(put)]


def test_all_broken_shards_are_told_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "000.npy", GOOD)
    for i in range(1, 13):
        np.save(tmp_path / f"{i:03}.npy", GOOD[:, :4])
    found = Shards(path=str(tmp_path)).problems()
    assert [Path(p.where).name for p in found[:-1]] == [f"{i:03}.npy" for i in range(1, 9)]
    assert str(found[-1]) == "dataset.path: 12 of 13 files cannot be used."


def test_files_of_another_split_have_the_width_of_training(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD)
    np.save(tmp_path / "b.npy", GOOD[:, :4])
    (problem,) = Shards(path=f"{tmp_path}/a.npy", test_path=f"{tmp_path}/b.npy").problems()
    assert str(problem) == (
        "dataset.test_path: holds float32 of shape (4,), dataset.path float32 of shape (6,). "
        "Give each split the shape and the type of the training data."
    )


@pytest.mark.parametrize("package", ["pyarrow", "h5py"])
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    kind, extra = {"pyarrow": ("parquet, columns", "parquet"), "h5py": ("hdf5", "hdf5")}[package]
    source = Shards(path=str(write_shards(tmp_path / "x", kind=kind)))
    monkeypatch.setitem(__import__("sys").modules, package, None)
    first = str(source.problems()[0])
    assert f': needs {package}. Install it: python -m pip install "aeframe[{extra}]".' in first


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    """Files may have their columns in another order, but not others."""
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "b": [10.0, 20.0]}), tmp_path / "1.parquet")
    parquet.write_table(pyarrow.table({"b": [30.0], "a": [3.0]}), tmp_path / "2.parquet")
    rows = Shards(path=str(tmp_path)).load().rows
    assert rows.read_all().tolist() == [[1, 10], [2, 20], [3, 30]]
    parquet.write_table(pyarrow.table({"b": [30.0], "c": [3.0]}), tmp_path / "2.parquet")
    (problem,) = Shards(path=str(tmp_path)).problems()
    wanted = "has other columns than 1.parquet: a, c in one of them only. Give all files the same columns."
    assert str(problem) == f"{tmp_path}/2.parquet: {wanted}"


def test_a_wrong_key_of_columns_is_named(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": [1.0], "b": [2.0]}), tmp_path / "1.parquet")
    (problem,) = Shards(path=str(tmp_path), key="c").problems()
    assert (
        str(problem)
        == "dataset.key=c: is not among the arrays of 1.parquet: a, b. Write one of these."
    )


def test_empty_row_groups_are_passed_over(tmp_path: Path) -> None:
    schema = pyarrow.schema([("a", pyarrow.float32())])
    with parquet.ParquetWriter(tmp_path / "1.parquet", schema) as writer:
        for values in ([1.0, 2.0], [], [3.0], [4.0, 5.0]):
            writer.write_table(pyarrow.table({"a": values}, schema=schema))
    assert parquet.ParquetFile(tmp_path / "1.parquet").num_row_groups == 4
    rows = Shards(path=str(tmp_path)).load().rows
    assert rows.read_all().flatten().tolist() == [1, 2, 3, 4, 5]
