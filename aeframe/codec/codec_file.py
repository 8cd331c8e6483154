"""`codec.safetensors`, beside a run's model: what makes a codec of it."""

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

from aeframe.codec.codec import Codec, compute_identity, count_units
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
    """Write the file into the folder of the codec's run; a line to tell where it replaces another codec."""
    before = _read_identity(folder / CODEC)
    like = codec.likeness
    said = {"format": FORMAT, "model": codec.model.identity, "step": codec.step}
    said |= asdict(like) if like.held_out else {"limit": like.limit}  # JSON has no infinity
    tables = {name: np.ascontiguousarray(getattr(codec.tables, name)) for name in TYPES}
    text = format_json(said, indent=None)
    with write_atomically(folder / CODEC) as file:
        file.write(safetensors.numpy.save(tables, {KEY: text}))
    if before in (None, codec.identity):
        return None
    old, new = (identity.hex()[:12] for identity in (before, codec.identity))
    return f"{CODEC}: {old} -> {new}; what {old} compressed, this codec does not decompress"


def _read_identity(file: Path) -> bytes | None:
    """That of the codec that a file holds; None where there is none that could have compressed."""
    try:
        said, found = _read(file)
        return compute_identity(said["model"], said["step"], Tables(**found))
    except Exception:  # as in load
        return None


def _read(file: Path) -> tuple[Any, dict[str, np.ndarray]]:
    require_regular(file)
    if file.stat().st_size > LARGEST:
        raise ValueError("it is far too large")
    with safetensors.safe_open(file, "np") as opened:
        said = json.loads((opened.metadata() or {}).get(KEY, "{}"))
        return said, {name: opened.get_tensor(name) for name in TYPES}


def find_codec_file(run: Path | str) -> Path:
    """Where the tables of a run's folder, or of a model's file in it, lie."""
    where = expand_path(run)
    return (where if where.is_dir() else where.parent) / CODEC


def copy_codec(run: Path | str, folder: Path) -> None:
    """Take the codec of a run along, where it has one, into a folder that has its model."""
    file = find_codec_file(run)
    if file.exists():
        load(run)  # whether it is this model's
        with open_regular(file) as opened, write_atomically(folder / CODEC) as copied:
            shutil.copyfileobj(opened, copied)


def load(run: Path | str, device: str | torch.device = "cpu", batch_size: int = BATCH) -> Codec:
    """The codec of a run's folder, or of a model's file in it. device, batch_size: see artifact.load.

    Raises UserError where there is none, and where it was made for other weights.
    """
    model = artifact.load(run, device, batch_size)
    file = find_codec_file(run)
    if not file.exists():
        what = "there is no such file: this run has no tables for its codes yet"
        raise UserError(str(file), what, f"Write: aeframe codec {run}")
    try:
        return _check_codec(model, *_read(file))
    except Exception as error:  # a broken file raises many kinds
        remedy = f"Write: aeframe codec {run} --force"
        what = f"is no codec of this model ({describe_error(error).rstrip('.')})"
        raise UserError(str(file), what, remedy) from error


def _check_codec(model: Model, said: Any, found: dict[str, np.ndarray]) -> Codec:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError("it names no known format")
    if said.get("model") != model.identity:
        raise ValueError("it was made for other weights")
    step = _read_number(said.get("step"))
    if step <= 0:
        raise ValueError("its step is none")
    if any(found[name].dtype != dtype for name, dtype in TYPES.items()):
        raise ValueError("its tables are of another type")
    tables = Tables(**found)
    if tables.m != count_units(model):
        raise ValueError("its tables are those of another code")
    return Codec(model, tables, step, _read_likeness(said))


def _read_likeness(said: dict[str, Any]) -> Likeness:
    """Files of older versions say no more than the limit."""
    if "held_out" not in said:
        return Likeness(_read_number(said.get("limit")))
    held_out, rank = said["held_out"], said.get("rank")
    if type(held_out) is not int or type(rank) is not int or not 0 < rank <= held_out < 2**31:
        raise ValueError("it counts its held-out samples wrongly")
    names = ("limit", "most_bits", "low_psnr", "high_bits")
    limit, most_bits, low_psnr, high_bits = (_read_number(said.get(name)) for name in names)
    return Likeness(limit, most_bits, low_psnr, high_bits, rank, held_out)


def _read_number(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("its step or a limit is no number")
    return value
