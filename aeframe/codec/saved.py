"""`codec.safetensors`, beside a run's model: what makes a codec of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from aeframe import artifact
from aeframe.artifact import Model
from aeframe.codec.codec import Codec, units
from aeframe.codec.tables import Tables
from aeframe.errors import UserError, reason
from aeframe.files import replaced

CODEC = "codec.safetensors"
KEY, FORMAT = "aeframe", 1
LARGEST = 2**28  # bytes
TYPES = {"low": np.dtype(np.int32), "units": np.dtype(np.uint16), "clusters": np.dtype(np.int32)}
BATCH = 1024  # samples that pass through the network at once


def save(folder: Path, codec: Codec) -> None:
    """Write the file into the folder of the codec's run."""
    said = {"format": FORMAT, "model": codec.model.identity, "step": codec.step}
    tables = {name: np.ascontiguousarray(getattr(codec.tables, name)) for name in TYPES}
    text = json.dumps({**said, "limit": codec.limit})
    with replaced(folder / CODEC) as file:
        file.write(safetensors.numpy.save(tables, {KEY: text}))


def file_of(run: Path | str) -> Path:
    """Where the tables of a run's folder, or of a model's file in it, lie."""
    where = Path(run).expanduser()
    return (where if where.is_dir() else where.parent) / CODEC


def load(run: Path | str) -> Codec:
    """The codec of a run's folder, or of a model's file in it. Raises UserError where there is none, and
    where it was made for other weights.
    """
    model = artifact.load(run, batch_size=BATCH)
    file = file_of(run)
    if not file.exists():
        what = "there is no such file: this run has no tables for its codes yet"
        raise UserError(str(file), what, f"Write: aeframe codec {run}")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is far too large")
        with safetensors.safe_open(file, "np") as opened:
            said = json.loads((opened.metadata() or {}).get(KEY, "{}"))
            found = {name: opened.get_tensor(name) for name in TYPES}
        return _checked(model, said, found)
    except Exception as error:  # a broken file raises many kinds
        remedy = f"Write: aeframe codec {run} --force"
        what = f"is no codec of this model ({reason(error).rstrip('.')})"
        raise UserError(str(file), what, remedy) from error


def _checked(model: Model, said: Any, found: dict[str, np.ndarray]) -> Codec:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError("it names no known format")
    if said.get("model") != model.identity:
        raise ValueError("it was made for other weights")
    step, limit = _number(said.get("step")), _number(said.get("limit"))
    if step <= 0:
        raise ValueError("its step is none")
    if any(found[name].dtype != dtype for name, dtype in TYPES.items()):
        raise ValueError("its tables are of another type")
    tables = Tables(**found)
    if tables.m != units(model):
        raise ValueError("its tables are those of another code")
    return Codec(model, tables, step, limit)


def _number(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("its step or its limit is no number")
    return value
