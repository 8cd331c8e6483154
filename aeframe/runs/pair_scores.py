"""Scores of samples by targets that are not the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import UserError
from aeframe.data.gaps import average_present
from aeframe.runs.containers import convert_to_array
from aeframe.runs.description import Description
from aeframe.runs.sample_arrays import arrange_rows, normalize_samples


@torch.inference_mode()
def score_pairs(
    net: ConstrainedAutoencoder, description: Description, batch_size: int, x: Any, target: Any
) -> np.ndarray | Tensor:
    """Return the mean squared error of each sample's output from its target, in normalized units, [N].

    x, target: arrays of as many samples as targets. Raises UserError for others, for a missing target, and
    for a model without targets.
    """
    data = description.data
    if data.target is None:
        raise UserError("target", "this model was trained without targets", "Leave it out.")
    if target is None:
        what = "is missing, and this model was trained with targets, by which it scores samples"
        raise UserError("target", what, "Write model.score(x, target).")
    given = [
        convert_to_array(part, one.shape, where)
        for part, one, where in ((x, data, "x"), (target, data.target, "target"))
    ]
    if (first := given[0]) is None or (second := given[1]) is None:
        where = "x" if given[0] is None else "target"
        raise UserError(where, "is an iterator", "Give samples and targets as arrays.")
    is_flat = description.is_flat
    rows, _ = arrange_rows(first, data.shape, "x", is_flat=is_flat)
    goals, _ = arrange_rows(second, data.target.shape, "target", is_flat=is_flat)
    if len(rows) != len(goals):
        what = f"holds {len(goals):,} targets for {len(rows):,} samples"
        raise UserError("target", what, "Give one for each sample, in the same order.")
    scores, normalization = [], net.written_normalization
    for part, wanted in zip(rows.split(batch_size), goals.split(batch_size), strict=True):
        x = normalize_samples(part, data, net.normalization, "x")
        goal = normalize_samples(wanted, data.target, normalization, "target")
        made = net.reconstruct(x)
        scores.append(average_present((made - goal).square(), normalization.find_present(goal)))
    found = torch.cat(scores)
    return found.numpy() if isinstance(first, np.ndarray) else found
