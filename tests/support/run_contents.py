"""Contents of a run's folder, to compare two runs bit for bit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from tests.support.paces import written


def story(folder: Path) -> dict[str, Any]:
    """Read all that a run leaves: checkpoints, curves, pictures, counts of written values, results, other
    files.
    """
    curves = {tag: sorted(points, key=str) for tag, points in written(folder).items()}
    found: dict[str, Any] = {"curves": curves, "records": records(folder)}
    for name in ("best", "last"):
        found[name] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    found["card"] = json.loads((folder / "evaluation.json").read_text()) | {"seconds": 0}
    found["files"] = {
        str(path.relative_to(folder)): path.read_text() if path.suffix == ".yaml" else ""
        for path in folder.rglob("*")
        if not path.name.startswith("events.out.")
    }
    return found


def records(folder: Path) -> dict[tuple[str, int], int]:
    """Count how often each value was written."""
    found: Counter[tuple[str, int]] = Counter()
    for file in folder.glob("events.out.tfevents.*"):
        for record in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(record)
            found.update((value.tag, event.step) for value in event.summary.value)
    return dict(found)


def logged(folder: Path) -> int:
    """Count the steps of the curves."""
    steps = [step for tag, step in records(folder) if tag == "train/loss"]
    return max(steps, default=-1) + 1


def saved(folder: Path) -> int | None:
    """Return the steps of the checkpoint, 0 without one, or None if it cannot be read."""
    file = folder / "checkpoints" / "last.ckpt"
    try:
        return int(torch.load(file, weights_only=True)["global_step"]) if file.exists() else 0
    except Exception:  # whatever torch may say
        return None
