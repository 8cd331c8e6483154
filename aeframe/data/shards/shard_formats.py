"""Formats of shards: the header of any file with rows of numbers."""

from __future__ import annotations

from pathlib import Path

from aeframe.core.errors import UserError, build_read_error
from aeframe.core.regular_files import require_regular
from aeframe.data.shard import AGAIN, Shard
from aeframe.data.shards.array_shards import open_npy, open_npz, open_safetensors
from aeframe.data.shards.hdf5_shard import open_hdf5
from aeframe.data.shards.parquet_shard import open_parquet

FORMATS = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".parquet": open_parquet,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
}
"""Readers of headers, by the ending of a file's name."""


def open_shard(path: Path, key: str | None, where: str) -> Shard:
    """Read the header of a file. Raises UserError with `where` for a file that cannot be used.

    key: the name of the array, where a file has several.
    """
    if (read := FORMATS.get(path.suffix.lower())) is None:
        what = f"ends in none of {', '.join(FORMATS)}"
        raise UserError(where, what, "Give files of these kinds.")
    try:
        require_regular(path)
        shard = read(path, key, where)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(
            where, "no such file", "Give files that exist, a folder or a pattern."
        ) from error
    except Exception as error:  # broken files raise nearly anything
        raise build_read_error(where, error, AGAIN) from error
    if len(shard.shape) < 2:
        raise UserError(
            where, f"has shape {shard.shape}", "Give rows of numbers: [n, D], or [n, ...]."
        )
    if len(shard) == 0:
        raise UserError(where, "holds no rows", "Leave it out.")
    if 0 in shard.shape:
        raise UserError(where, f"has shape {shard.shape}", "Give rows with at least one number.")
    return shard
