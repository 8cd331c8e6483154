"""Results for each step of a series: averages over all windows that cover it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.data.memory_map import as_tensor
from aeframe.data.source import Share
from aeframe.data.windows import OverlapAverage, Segment, WindowRows, find_segments, list_starts
from aeframe.runs.known_errors import KnownErrors
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import convert_to_stored, normalize_samples

COVERS = 10
"""Windows that cover a step of a long series. Of a short one a window begins at each step."""


@dataclass(frozen=True)
class StepResults:
    """Results for the steps of a series; NaN at a step that no window covers.

    squares: squared errors in normalized units, [C, T]. restored: the reconstruction in stored units, [C, T].
    of_windows: the mean squared errors of the windows that cover a step, averaged, [T].
    """

    squares: np.ndarray
    restored: np.ndarray
    of_windows: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """The mean squared error of each step, [T]."""
        scores: np.ndarray = self.squares.mean(0)
        return scores


def list_windows(values: np.ndarray, breaks: Sequence[int], window: int, stride: int) -> WindowRows:
    """List the windows that cover all steps of the parts of a series, [C, T], that are long enough."""
    segments: list[Segment] = find_segments(values, breaks)
    starts = list_starts(segments, window, stride, to_the_end=True)
    return WindowRows(as_tensor(values), torch.from_numpy(starts), window)


@torch.inference_mode()
def measure_steps(model: Model, rows: WindowRows) -> StepResults:
    """Reconstruct the windows of a series and average what they give for each step."""
    model.require_decoder("score")
    channels, steps = rows.series.shape
    squares, restored = (OverlapAverage(channels, steps) for _ in range(2))
    of_windows = OverlapAverage(1, steps)
    data, normalization = model.description.data, model.net.normalization
    for some in torch.arange(len(rows)).split(model.batch_size):
        raw, starts = rows.select(some), rows.starts[some].numpy()
        x = normalize_samples(raw, data, normalization, "x")
        made = model.net.reconstruct(x)
        errors = (made - x).square().double().cpu().numpy()
        squares.add(starts, errors)
        means = errors.mean((1, 2), keepdims=True)
        of_windows.add(starts, np.broadcast_to(means, (len(means), 1, errors.shape[2])))
        restored.add(starts, normalization.inverse(made).double().cpu().numpy())
    return StepResults(squares.compute(), restored.compute(), of_windows.compute()[0])


def convert_steps(model: Model, restored: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Convert reconstructed steps to the type of the data. Those that no window covers stay as they were."""
    stored = convert_to_stored(torch.from_numpy(np.nan_to_num(restored)), model.description.data)
    return np.where(np.isnan(restored), seen, stored.numpy()).astype(seen.dtype)


@torch.inference_mode()
def measure_known_steps(
    net: ConstrainedAutoencoder, data: DataModule, most: int
) -> KnownErrors | None:
    """Measure the errors of the steps of validation windows, at most so many; None for other data."""
    samples = data.splits[data.held_out]
    rows = samples.raw.rows
    if not isinstance(rows, WindowRows):
        return None
    average = OverlapAverage(*rows.series.shape)
    for chosen in samples.spread_evenly(most).split(256):
        batch = samples[Share(chosen, len(chosen))]
        x = net.normalization(batch.x.to(net.normalization.scale.device))
        squares = (net.reconstruct(x) - x).square().double().cpu().numpy()
        average.add(rows.starts[batch.row.long()].cpu().numpy(), squares)
    scores = average.compute().mean(0)
    return KnownErrors.summarize(data.held_out, scores[~np.isnan(scores)])
