"""Gaps: missing values, which are NaN in a sample."""

from __future__ import annotations

from torch import Tensor

from aeframe.data.source import Raw


def has_gaps(raw: Raw) -> bool:
    """Check whether samples of a source, or of its official splits, have gaps."""
    if not raw.gaps:
        return False
    found = any(bool(chunk.isnan().any()) for _, chunk in raw.read_chunks())
    return found or any(has_gaps(other) for other in (raw.val, raw.test) if other is not None)


def keep_present(values: Tensor, present: Tensor | None) -> Tensor:
    """Return the values with 0 in place of gaps. present: bool, shaped like them; None: no gaps."""
    return values if present is None else values.where(present, 0)


def average_present(values: Tensor, present: Tensor | None, axis: int = 1) -> Tensor:
    """Average over the features of each sample (axis 1) or over the samples (axis 0), without gaps.

    values: [N, ...]. present: see `keep_present`. Where all are gaps, the average is 0.
    """
    values = values.flatten(1)
    if present is None:
        return values.mean(axis)
    present = present.flatten(1)
    return values.where(present, 0).sum(axis) / present.sum(axis).clamp(min=1)
