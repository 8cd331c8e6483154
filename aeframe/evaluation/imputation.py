"""Imputation error: cells of a table are hidden, filled and compared with what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.data import DataModule, Schema
from aeframe.evaluation.copy_check import CHUNK

SHARE = 0.1  # of the cells that are present


class Imputation(NamedTuple):
    """Mean squared errors of hidden cells, in normalized units: filled by a network, and by their means."""

    network: float
    means: float


@torch.no_grad()
def measure_imputation(
    net: ConstrainedAutoencoder, data: DataModule, most: int
) -> Imputation | None:
    """Hide a tenth of the cells of test samples, and measure the errors of what is filled in.

    most: test samples at most. None for data without gaps.
    """
    normalization = net.normalization
    if not data.normalization.has_gaps:
        return None
    x = data.peek("test", most, normalization)
    marks, columns = normalization(torch.ones_like(x)), data.spec.columns
    given, hidden = hide_cells(x, marks, columns, Noise(data.seed, "imputation"))
    if not bool(hidden.any()):
        return None
    filled = torch.cat([net.impute(part) for part in given.split(CHUNK)])
    errors = [(x - made)[hidden].double() for made in (filled, normalization.fill(given))]
    return Imputation(*(float(error.square().mean()) for error in errors))


def hide_cells(
    x: Tensor, marks: Tensor, columns: Schema | None, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return normalized samples [N, *shape] with more gaps, and which elements were hidden, bool.

    The elements of a category are hidden together, and a column that marks gaps takes its value of `marks`.
    columns: of a table; otherwise each element is a cell.
    """
    present, count = x.isnan().logical_not().flatten(1), x[0].numel()
    widths = [1] * count if columns is None else [column.width for column in columns.columns]
    chosen = noise.uniform((len(x), len(widths))).to(x.device) < SHARE
    cells = chosen.repeat_interleave(torch.tensor(widths, device=x.device), 1)
    for marker, _ in _list_markers(columns):
        cells[:, marker] = False
    hidden = present & cells
    given = x.flatten(1).masked_fill(hidden, torch.nan)
    for marker, first in _list_markers(columns):
        given[:, marker] = torch.where(
            hidden[:, first], marks.flatten(1)[:, marker], given[:, marker]
        )
    return given.view_as(x), hidden.view_as(x)


def _list_markers(columns: Schema | None) -> Sequence[tuple[int, int]]:
    """List the elements that mark gaps, each with the first element of the column that it marks."""
    if columns is None:
        return []
    first = {c.name: place.start for c, place in zip(columns.columns, columns.slices, strict=True)}
    return [(first[column.name], first[column.of]) for column in columns.columns if column.of]
