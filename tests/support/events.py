"""Events that a run has written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, ImageEvent
from tensorboard.plugins.hparams import plugin_data_pb2

from aeframe.monitoring.dashboard.page import number_picture


class Events:
    """All events of a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read = EventAccumulator(str(folder), {"images": 0, "scalars": 0, "histograms": 0})
        self.read.Reload()

    def tags(self, kind: str = "scalars") -> set[str]:
        return set(self.read.Tags()[kind])

    def scalars(self, tag: str) -> dict[int, float]:
        """Return the values of a curve by step; each step has one."""
        events = self.read.Scalars(tag)
        found = {event.step: event.value for event in events}
        assert len(found) == len(events), f"{tag} has several values at one step"
        return found

    def images(self, name: str) -> dict[int, np.ndarray]:
        """Return the pictures of this name by step, [H, W, 3]."""
        return {event.step: _decoded(event) for event in self.read.Images(number_picture(name))}

    def hparams(self, part: str) -> Any:
        content = self.read.summary_metadata[f"_hparams_/{part}"].plugin_data.content
        return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), part)

    def columns(self) -> dict[str, Any]:
        """Return the run's line in HParams: its choices and its results."""
        found = self.hparams("session_start_info").hparams.items()
        return {name: getattr(value, value.WhichOneof("kind")) for name, value in found}

    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "evaluation.json").read_text())


def _decoded(event: ImageEvent) -> np.ndarray:
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        assert image.format == "PNG"
        assert image.size == (event.width, event.height)
        return np.array(image.convert("RGB"))
