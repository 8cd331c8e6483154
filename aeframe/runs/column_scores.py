"""Scores of a table's rows and of their columns, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from aeframe.runs.frames import require_columns
from aeframe.runs.model import Model
from aeframe.runs.novelty import rate, split_shares
from aeframe.runs.sample_arrays import convert_to_rows, convert_to_stored


class ColumnScores(NamedTuple):
    """Scores of rows, [N], the shares of columns in them, [N, columns], and reconstructions [N, D]."""

    scores: np.ndarray
    shares: np.ndarray
    restored: np.ndarray


@torch.inference_mode()
def score_rows(model: Model, x: np.ndarray) -> ColumnScores:
    """Encode and decode samples [N, D] of a table once; reconstructions are in stored units.

    `Model.score`, `score_columns` and `reconstruct` give the same, but for gaps of a denoising model. Where
    the distance from the mean makes most of a column's share, the mean of training stands for the
    reconstruction.
    """
    model.require_decoder("score")
    data = model.description.data
    schema, inverse = require_columns(data, "score"), model.net.written_normalization.inverse
    novelty, means = model.description.novelty, model.net.normalization.neutral
    widths = torch.tensor([column.width for column in schema.columns], device=model.device)
    found = list[tuple[torch.Tensor, ...]]()
    for part in convert_to_rows(x, "x").split(max(model.batch_size, model.net.most_rows)):
        compared = model.compare(part)
        by_error, by_distance = split_shares(compared, novelty, schema)
        expected = compared.restored
        if means is not None:
            is_far = (by_distance > by_error).repeat_interleave(widths, 1)
            expected = torch.where(is_far, means, expected)
        made = convert_to_stored(inverse(expected), data)
        found.append((rate(compared, novelty), by_error + by_distance, made))
    return ColumnScores(*(torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)))
