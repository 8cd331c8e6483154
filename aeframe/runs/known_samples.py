"""Scores of known samples, which set the limits for outliers."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.data.source import Share
from aeframe.runs.known_errors import KnownErrors
from aeframe.runs.novelty import Compared, Novelty

SCORED = 10_000
"""Largest number of samples of a split that are scored."""
FEWEST = 10
"""Least number of validation samples to fit a novelty to. With fewer, it is fitted to training samples."""


@torch.inference_mode()
def measure_known_samples(
    net: ConstrainedAutoencoder, data: DataModule
) -> tuple[KnownErrors, Novelty | None]:
    """Measure the scores of validation samples. Errors of training samples are smaller than of new ones.

    Rows of a table have a novelty as their score; without it, it is the error.
    """
    is_table = data.spec.columns is not None and data.spec.target is None
    errors, distances = measure_samples(net, data, data.held_out, is_table=is_table)
    if not is_table:
        return _summarize(data.held_out, errors), None
    few = len(errors) < FEWEST
    fitted = measure_samples(net, data, "train", is_table=is_table) if few else (errors, distances)
    novelty = Novelty.fit(*fitted)
    return _summarize(data.held_out, novelty.measure(errors, distances)), novelty


def _summarize(split: str, scores: Tensor) -> KnownErrors:
    return KnownErrors.summarize(split, scores.double().cpu().numpy())


@torch.inference_mode()
def measure_samples(
    net: ConstrainedAutoencoder, data: DataModule, split: str, *, is_table: bool = False
) -> tuple[Tensor, Tensor]:
    """Measure errors and distances of samples, evenly spread over a split. Only tables have distances."""
    net.eval()
    samples, device = data.splits[split], net.normalization.scale.device
    errors, distances = list[Tensor](), list[Tensor]()
    for chosen in samples.spread_evenly(SCORED).split(256):  # samples may be large
        batch = samples[Share(chosen, len(chosen))]
        goal = x = net.normalization(batch.x.to(device))
        if batch.target is not None:
            goal = net.written_normalization(batch.target.to(device))
        compared = Compared.of(net, x, goal, far=is_table)
        errors.append(compared.errors)
        distances.append(compared.distances if is_table else torch.zeros_like(errors[-1]))
    samples.raw.release()
    return torch.cat(errors), torch.cat(distances)
