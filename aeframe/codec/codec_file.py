"""`codec.safetensors`: the file beside a model that turns it into a codec."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from aeframe.codec.codec import Codec, compute_identity, count_tables
from aeframe.codec.entropy.tables import Tables
from aeframe.codec.likeness import Likeness
from aeframe.core.errors import UserError, describe_error
from aeframe.core.files import write_atomically
from aeframe.core.local_paths import expand_path
from aeframe.core.regular_files import open_regular, require_regular
from aeframe.core.strict_json import format_json
from aeframe.runs import model_file as artifact
from aeframe.runs.model import Model

CODEC = "codec.safetensors"
KEY, FORMAT = "aeframe", 1
LARGEST = 2**28  # bytes
TYPES = {"low": np.dtype(np.int32), "units": np.dtype(np.uint16), "clusters": np.dtype(np.int32)}
BATCH = 1024


def save(folder: Path, codec: Codec) -> str | None:
    """Write the file into the folder of a run; returns a note if it replaces another codec."""
    before = _read_identity(folder / CODEC)
    like = codec.likeness
    metadata = {"format": FORMAT, "model": codec.model.identity, "step": codec.step}
    metadata |= asdict(like) if like.held_out else {"limit": like.limit}  # JSON has no infinity
    tables = {name: np.ascontiguousarray(getattr(codec.tables, name)) for name in TYPES}
    text = format_json(metadata, indent=None)
    with write_atomically(folder / CODEC) as file:
        file.write(safetensors.numpy.save(tables, {KEY: text}))
    if before in (None, codec.identity):
        return None
    old, new = (identity.hex()[:12] for identity in (before, codec.identity))
    return (
        f"{CODEC}: {old} -> {new}; files compressed by {old} cannot be decompressed with this codec"
    )


def _read_identity(file: Path) -> bytes | None:
    """Read the identity of the codec in a file; None if there is no valid one."""
    try:
        metadata, found = _read(file)
        return compute_identity(metadata["model"], metadata["step"], Tables(**found))
    except Exception:  # many kinds, as in load
        return None


def _read(file: Path) -> tuple[Any, dict[str, np.ndarray]]:
    require_regular(file)
    if file.stat().st_size > LARGEST:
        raise ValueError("it is too large")
    with safetensors.safe_open(file, "np") as opened:
        metadata = json.loads((opened.metadata() or {}).get(KEY, "{}"))
        return metadata, {name: opened.get_tensor(name) for name in TYPES}


def find_codec_file(run: Path | str) -> Path:
    """Return the path of the codec file for the folder of a run, or for a model file in it."""
    where = expand_path(run)
    return (where if where.is_dir() else where.parent) / CODEC


def copy_codec(run: Path | str, folder: Path) -> None:
    """Copy the codec of a run, if there is one, into a folder with the same model."""
    file = find_codec_file(run)
    if file.exists():
        load(run)  # raises UserError unless it fits the model
        with open_regular(file) as opened, write_atomically(folder / CODEC) as copied:
            shutil.copyfileobj(opened, copied)


def load(run: Path | str, device: str | torch.device = "cpu", batch_size: int = BATCH) -> Codec:
    """Load the codec from the folder of a run or a model file in it. device, batch_size: see model_file.load.

    Raises UserError if there is none, or if it was made for other weights.
    """
    model = artifact.load(run, device, batch_size)
    file = find_codec_file(run)
    if not file.exists():
        what = "no such file: this run has no codec yet"
        raise UserError(str(file), what, f"Make one: aeframe codec {run}")
    try:
        return _check_codec(model, *_read(file))
    except Exception as error:  # a broken file raises many kinds
        remedy = f"Make it again: aeframe codec {run} --force"
        what = f"is not a codec of this model ({describe_error(error).rstrip('.')})"
        raise UserError(str(file), what, remedy) from error


def _check_codec(model: Model, metadata: Any, found: dict[str, np.ndarray]) -> Codec:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ValueError("its format is unknown")
    if metadata.get("model") != model.identity:
        raise ValueError("it was made for other weights")
    step = _read_number(metadata.get("step"))
    if step <= 0:
        raise ValueError("its step is not positive")
    if any(found[name].dtype != dtype for name, dtype in TYPES.items()):
        raise ValueError("its tables have another type")
    tables = Tables(**found)
    if tables.m != count_tables(model):
        raise ValueError("its tables are for another code")
    return Codec(model, tables, step, _read_likeness(metadata))


def _read_likeness(metadata: dict[str, Any]) -> Likeness:
    """Read the likeness; files of older versions contain only the limit."""
    if "held_out" not in metadata:
        return Likeness(_read_number(metadata.get("limit")))
    held_out, rank = metadata["held_out"], metadata.get("rank")
    if type(held_out) is not int or type(rank) is not int or not 0 < rank <= held_out < 2**31:
        raise ValueError("its number of held-out samples is wrong")
    names = ("limit", "most_bits", "low_psnr", "high_bits")
    limit, most_bits, low_psnr, high_bits = (_read_number(metadata.get(name)) for name in names)
    return Likeness(limit, most_bits, low_psnr, high_bits, rank, held_out)


def _read_number(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("its step or a limit is not a number")
    return value
