"""Output of a verb: files and folders that are complete or absent, with any number of rows."""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy

from aeframe.cli.verbs.verb import SPLITS
from aeframe.config.datasets import list_dataset_names
from aeframe.config.suggested_options import join_names
from aeframe.core.errors import MachineError, UserError, describe_error
from aeframe.core.files import DISK, write_atomically

Names = Sequence[str] | None
Block = TypeVar("Block", bound=Sized)
"""Samples that are processed at once."""
KINDS = (".npy", ".npz", ".csv", ".parquet", ".aez", ".json", ".txt", ".zip", ".pdf", ".svg")


READ: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("run", "runs", "codes", "file"), ()),
    **dict.fromkeys(("input", "a", "b"), list_dataset_names()),
    "data": (*list_dataset_names(), *SPLITS),
}
"""Arguments that name input, each with the words that, alone, are names and not paths."""
ROWS = ("a", "b")  # arguments that may be a row number


def check_output_path(
    options: argparse.Namespace,
    endings: Sequence[str],
    *,
    folder: bool = False,
    option: str = "out",
) -> Path:
    """Check the path of the result before any work, and return it. Raises UserError for an unusable one.

    endings: those that the file may have. folder: whether the result may be a folder, which is a path
    without a known ending. option: that names it.
    """
    out = getattr(options, option)
    path = Path(os.path.expanduser(out))
    known = path.suffix.lower() in endings
    is_file = os.path.isfile(path) or (_has_file_name(path) and not os.path.isdir(path))
    if not endings and is_file:
        raise UserError(f"--{option} {out}", "is a file", "Write the name of a folder.")
    if not known and (not folder or is_file):
        what = f"must end in {join_names(endings)}"
        raise UserError(f"--{option} {out}", f"{what}, or be a folder" if folder else what)
    try:
        parent = path.absolute().parent
    except FileNotFoundError as error:
        what = "the current folder no longer exists"
        raise UserError(f"--{option} {out}", what, "Change to another folder.") from error
    if not os.path.isdir(parent):
        raise UserError(
            f"--{option} {out}", f"the folder {path.parent} does not exist", "Create it first."
        )
    if known and os.path.isdir(path):
        raise UserError(f"--{option} {out}", "is a folder", "Write another name.")
    require_writable(path if os.path.isdir(path) else parent, f"--{option} {out}")
    if os.path.exists(path) and (word := _find_overwritten(path, options)) is not None:
        raise UserError(
            f"--{option} {out}", f"would overwrite the input {word}", "Write another name."
        )
    exists = os.path.exists(path) and (known or any(path.iterdir()))
    if exists and not options.force:
        raise UserError(
            f"--{option} {out}",
            "exists already",
            "Use --force to replace it, or write another name.",
        )
    if path.suffix.lower() == ".parquet":
        require_parquet(f"--{option} {out}")
    return path


def _find_overwritten(path: Path, options: argparse.Namespace) -> str | None:
    """Find the first input of the command that a result at this path would overwrite or fill."""
    for word in _list_inputs(options):
        place = os.path.expanduser(word)
        places = (
            [place, os.path.dirname(os.path.abspath(place))] if os.path.isfile(place) else [place]
        )
        if any(os.path.exists(place) and path.samefile(place) for place in places):
            return str(word)
    return None


def _list_inputs(options: argparse.Namespace) -> Iterator[str]:
    """List the inputs that are paths."""
    for name, known in READ.items():
        given = getattr(options, name, None) or []
        words = [given] if isinstance(given, str) else given
        is_name = len(words) == 1 and (words[0] in known or (name in ROWS and words[0].isdecimal()))
        yield from () if is_name else words


def _has_file_name(path: Path) -> bool:
    """Check whether a path ends like a file, so that it cannot mean a folder."""
    from aeframe.data.images.image_reader import ENDINGS

    return path.suffix.lower() in {*ENDINGS, *KINDS}


def require_writable(folder: Path, where: str) -> None:
    """Raise UserError if no file can be made in a folder. where: its name in the message."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(where, "is not writable", "Write another place, or change its permissions.")


def require_parquet(where: str) -> None:
    """Raise UserError if pyarrow, which Parquet needs, is not installed. where: the name of the file."""
    if find_spec("pyarrow") is None:
        remedy = 'Install it: python -m pip install "aeframe[parquet]".'
        raise UserError(where, "needs pyarrow", remedy)


@contextmanager
def replace_file(out: Path) -> Iterator[BinaryIO]:
    """Write a file that appears when it is complete."""
    with _explain_failure(out), write_atomically(out, f".{out.name}.{os.getpid()}.partial") as file:
        yield file


@contextmanager
def fill_folder(out: Path) -> Iterator[Path]:
    """Fill a folder that appears when it is complete. In an existing folder files are replaced."""
    partial = out.absolute().with_name(f".{out.name}.{os.getpid()}.partial")
    with _explain_failure(out):
        partial.mkdir()
        try:
            yield partial
            if out.is_dir() and any(out.iterdir()):
                for file in [f for f in partial.rglob("*") if f.is_file()]:
                    target = out / file.relative_to(partial)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    file.replace(target)
            else:
                partial.replace(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _explain_failure(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK:
            raise MachineError(f"{out} could not be written ({describe_error(error)}).") from error
        if (
            error.filename is None
            or out.absolute().parent not in Path(error.filename).absolute().parents
        ):
            raise
        raise UserError(f"--out {out}", f"cannot be written ({describe_error(error)})") from error


@dataclass(frozen=True)
class Rows:
    """Blocks of rows to write, which together are an array of this shape and type.

    key: the name of the array in an .npz, and the prefix of column names. texts: columns `name` and `label`,
    with one text for each row, if they are known.
    """

    blocks: Iterable[np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    key: str
    texts: Mapping[str, Sequence[str]]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a table."""
        return [*self.texts, *(f"{self.key}{i}" for i in range(math.prod(self.shape[1:])))]


def write_rows(
    out: Path,
    blocks: Iterable[np.ndarray],
    count: int,
    key: str,
    names: Names = None,
    labels: Names = None,
) -> None:
    """Write blocks of rows, [n, ...], one after another; `count` rows in all. key: see Rows."""
    write = {
        ".npy": _write_npy,
        ".npz": _write_npz,
        ".csv": _write_csv,
        ".parquet": _write_parquet,
    }[out.suffix.lower()]
    blocks = iter(blocks)
    first = next(blocks)  # an error comes before the file is made
    with replace_file(out) as file:
        shape = (count, *first.shape[1:])
        texts = {k: v for k, v in (("name", names), ("label", labels)) if v is not None}
        write(file, Rows(chain([first], blocks), shape, first.dtype, key, texts))


def _write_npy(file: BinaryIO, rows: Rows) -> None:
    header = {"descr": npy.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    npy.write_array_header_1_0(file, header)
    for block in rows.blocks:
        file.write(block.tobytes())


def _write_npz(file: BinaryIO, rows: Rows) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open(f"{rows.key}.npy", "w", force_zip64=True) as member:
            _write_npy(member, rows)  # type: ignore[arg-type]
        for column, texts in rows.texts.items():
            with archive.open(f"{column}s.npy", "w") as member:
                npy.write_array(member, np.array(texts, np.str_))


def _write_csv(file: BinaryIO, rows: Rows) -> None:
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    writer, row = csv.writer(text), 0
    writer.writerow(rows.columns)
    digits = 9 if rows.dtype.itemsize <= 4 else 17  # enough to read the same number back
    for block in rows.blocks:
        for values in block.reshape(len(block), -1).tolist():
            texts = (column[row] for column in rows.texts.values())
            writer.writerow([*texts, *(f"{value:.{digits}g}" for value in values)])
            row += 1
    text.flush()
    text.detach()


def _write_parquet(file: BinaryIO, rows: Rows) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = rows.columns
    text = [pyarrow.field(column, pyarrow.string()) for column in rows.texts]
    numbers = [pyarrow.field(c, pyarrow.from_numpy_dtype(rows.dtype)) for c in columns[len(text) :]]
    schema, row = pyarrow.schema([*text, *numbers]), 0
    with parquet.ParquetWriter(file, schema) as writer:
        for block in rows.blocks:
            texts = [column[row : row + len(block)] for column in rows.texts.values()]
            # names of files may have characters that UTF-8 cannot encode
            texts = [[t.encode(errors="replace").decode() for t in column] for column in texts]
            arrays = [pyarrow.array(column) for column in texts]
            arrays += [pyarrow.array(v) for v in block.reshape(len(block), -1).T]
            row += len(block)
            writer.write_table(pyarrow.table(arrays, schema=schema))


def show_progress(blocks: Iterator[Block], count: int, doing: str) -> Iterator[Block]:
    """Pass the blocks on, with a progress bar and the rate on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[rate]}"), TimeRemainingColumn()),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_interactive
    ) as progress:
        task = progress.add_task(doing, total=count, rate="")
        for block in blocks:
            yield block
            progress.advance(task, len(block))
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")
