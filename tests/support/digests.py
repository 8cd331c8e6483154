"""Digests of a run folder's files. Reads the files only and imports nothing of aeframe.

Two runs have equal digests if they have equal weights, curves, pictures, codes and card, bit for bit.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

MEASURED_CURVES = {
    "vitals/samples_per_second": "speed",
    "vitals/images_per_second": "speed",  # of before
    "vitals/data_waiting": "share of time spent on waiting for data",
}
"""Scalars left out of the curves, with what they measure: they differ from run to run."""
MEASURED_KEYS = {"seconds": "duration", "version": "of a library", "versions": "of libraries"}
"""Keys left out of the card, with what they hold."""
UNCOMPARED_COLUMNS = {"status": "free text where a job failed", "folder": "path"}
"""Columns left out of a sweep's table, with what they hold."""
CODES = "codes.npy"
"""File in a run folder that `digest_run` takes the codes from."""


def hash_value(value: object) -> str:
    """Hash plain data. Floats count with all their digits, the order of keys does not count."""
    return _hash_bytes(json.dumps(value, sort_keys=True).encode())


def digest_run(run: Path) -> dict[str, str]:
    """Map each part of a run to its digest; a part without a file has the digest `-`."""
    events = EventAccumulator(str(run), {"scalars": 0, "images": 0, "histograms": 0}).Reload()
    parts = {
        "last": _read_checkpoint(run / "checkpoints" / "last.ckpt"),
        "best": _read_checkpoint(run / "checkpoints" / "best.ckpt"),
        "model": _read_model(run / "model.safetensors"),
        "curves": _read_curves(events),
        "pictures": _read_pictures(events),
        "card": _remove_texts(read_card(run)),
        "codes": _read_codes(run / CODES),
    }
    return {part: hash_value(value) if value else "-" for part, value in parts.items()}


def read_card(run: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return card


def digest_sweep(file: Path) -> str:
    """Hash the rows of a sweep's table, without `UNCOMPARED_COLUMNS`."""
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    return hash_value(
        [{key: row[key] for key in row if key not in UNCOMPARED_COLUMNS} for row in rows]
    )


def _hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _describe_tensors(tensors: dict[str, Any]) -> dict[str, list[Any]]:
    """Map each tensor's name to its type, shape and the hash of its bytes."""
    return {
        name: [str(tensor.dtype), list(tensor.shape), _hash_tensor(tensor)]
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor)
    }


def _hash_tensor(tensor: Tensor) -> str:
    return _hash_bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _read_checkpoint(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    return _describe_tensors(torch.load(file, weights_only=True)["state_dict"])


def _read_model(file: Path) -> dict[str, Any]:
    return _describe_tensors(load_file(file)) if file.exists() else {}


def _read_codes(file: Path) -> list[Any]:
    if not file.exists():
        return []
    codes = np.load(file)
    return [str(codes.dtype), codes.shape, _hash_bytes(codes.tobytes())]


def _read_curves(events: EventAccumulator) -> dict[str, Any]:
    """Map each scalar's tag to its points, as TensorBoard shows them; equal points count once."""
    return {
        tag: list(dict.fromkeys((point.step, point.value) for point in events.Scalars(tag)))
        for tag in events.Tags()["scalars"]
        if tag not in MEASURED_CURVES
    }


def _read_pictures(events: EventAccumulator) -> dict[str, Any]:
    """Map the tags of images and histograms to their steps and contents."""
    images = {
        tag: [(image.step, _hash_bytes(image.encoded_image_string)) for image in events.Images(tag)]
        for tag in events.Tags()["images"]
    }
    histograms = {
        tag: [(event.step, repr(event.histogram_value)) for event in events.Histograms(tag)]
        for tag in events.Tags()["histograms"]
    }
    return images | histograms


def _remove_texts(value: Any) -> Any:
    """Return the card without measured times, absolute paths and sentences.

    A sentence is a text with white space: its wording may change. Names such as `val/mse` stay, and so
    does the number of sentences in a list.
    """
    if isinstance(value, dict):
        return {key: _remove_texts(value[key]) for key in value if key not in MEASURED_KEYS}
    if isinstance(value, list):
        return [_remove_texts(item) for item in value]
    if isinstance(value, str) and (len(value.split()) > 1 or Path(value).is_absolute()):
        return None
    return value
