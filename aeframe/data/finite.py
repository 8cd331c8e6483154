"""Rows and columns with NaN or infinity."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.data.source import Raw

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch has no comparisons for these
NAMED = 3  # columns in a message


def measure_extent(chunk: Tensor, raw: Raw) -> tuple[float, float]:
    """Measure the lowest and the highest value of a chunk of `raw`; its gaps are left out.

    Raises UserError that names the rows or columns of `raw` with NaN, infinity or values beyond float32.
    """
    if raw.gaps:
        chunk = chunk[chunk.isnan().logical_not()]
        if not len(chunk):
            return math.inf, -math.inf
    low, high = (chunk.double() if chunk.dtype in UNSIGNED else chunk).aminmax()
    if not bool(torch.isfinite(torch.stack((low, high)).float()).all()):  # NaN appears in both
        what, remedy, _ = describe_non_finite(raw.read_chunks(), gaps=raw.gaps)
        raise UserError(raw.origin, what, remedy)
    return float(low), float(high)


def describe_non_finite(
    chunks: Iterable[tuple[int, Tensor]], *, gaps: bool = False
) -> tuple[str, str, int]:
    """Describe the samples that are not finite: (what, remedy, first such row).

    chunks: all samples [n, *shape] in parts, each with its first row. gaps: whether NaN is allowed.
    """
    total = bad = 0
    first, column, columns = -1, 0, torch.zeros(())
    for start, chunk in chunks:
        values = chunk.float()
        found = (values.isinf() if gaps else values.isfinite().logical_not()).flatten(1)
        rows = found.any(1)
        if first < 0 and bool(rows.any()):
            first = start + int(rows.nonzero()[0])
            column = int(found[first - start].nonzero()[0])
        total, bad = total + len(chunk), bad + int(rows.sum())
        columns = columns + found.sum(0)
        is_table = chunk.ndim == 2
    kind = f"{'' if gaps else 'NaN, '}infinity or values beyond float32"
    mostly = (columns >= total / 2).nonzero().flatten().tolist() if is_table else []
    if mostly and bad > total / 2 and total > 1 and len(mostly) < len(columns):
        listed = ", ".join(map(str, mostly[:NAMED])) + (", ..." if len(mostly) > NAMED else "")
        share = "every sample" if int(columns[mostly].min()) == total else "most samples"
        verb = "column {} (from 0) holds" if len(mostly) == 1 else "columns {} (from 0) hold"
        them = "it" if len(mostly) == 1 else "them"
        remedy = f"Drop {them}: x = numpy.delete(x, {mostly}, axis=1)."
        if len(mostly) > NAMED:
            remedy = f"Drop these {len(mostly)} columns: numpy.delete(x, COLUMNS, axis=1)."
        return f"{verb.format(listed)} {kind} in {share}", remedy, first
    others = "" if bad == 1 else f" ({bad:,} of {total:,} samples do)"
    remedy = "Remove such samples or replace the values before training."
    if bad > total / 2:
        remedy = "Replace the values, for example with scikit-learn's SimpleImputer."
    place = f" in column {column}" if is_table else ""
    return f"sample {first} (from 0) holds {kind}{place}{others}", remedy, first
