"""Scores of a table's rows and of their columns, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from aeframe.data.gaps import average_present
from aeframe.runs.frames import require_columns, share_columns
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import convert_to_rows, convert_to_stored


class ColumnScores(NamedTuple):
    """Scores of rows, [N], the shares of columns in them, [N, columns], and reconstructions [N, D]."""

    scores: np.ndarray
    shares: np.ndarray
    restored: np.ndarray


@torch.inference_mode()
def score_rows(model: Model, x: np.ndarray) -> ColumnScores:
    """Encode and decode samples [N, D] of a table once; reconstructions are in stored units.

    `Model.score`, `score_columns` and `reconstruct` give the same, but for gaps of a denoising model.
    """
    data = model.description.data
    schema, inverse = require_columns(data, "score"), model.net.written_normalization.inverse
    found = list[tuple[torch.Tensor, ...]]()
    for part in convert_to_rows(x, "x").split(max(model.batch_size, model.net.most_rows)):
        squares, present, restored = model.compare(part)
        shares = share_columns(squares, present, schema)
        made = convert_to_stored(inverse(restored), data)
        found.append((average_present(squares, present), shares, made))
    return ColumnScores(*(torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)))
