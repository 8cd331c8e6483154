"""Passes through a network that ended in chosen numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from aeframe.evaluation.metrics import Metrics
from aeframe.models import Code, Output
from aeframe.models.output import Term
from tests.support.constraint_tools import identity

INPUTS, UNITS = 6, 9


def passed(
    x: Tensor,
    restored: Tensor,
    *,
    corrupted: Tensor | None = None,
    value: Tensor | None = None,
    floor: float = 0.0,
    **terms: Term,
) -> Output:
    """Make a pass with these numbers; the parameters of a Gaussian are its mean."""
    value = torch.zeros(len(x), UNITS) if value is None else value
    seen = x if corrupted is None else corrupted
    found = terms or {"reconstruction": Term(torch.tensor(0.0))}
    return Output(x, seen, None, Code(value, value, floor), restored, identity, found)


def computed(
    metrics: Metrics, passes: Iterable[Output | tuple[Output, Output]]
) -> dict[str, float]:
    """Compute all metrics of these batches; a tuple is (clean, as trained)."""
    for output in passes:
        metrics.update(*((output, output) if isinstance(output, Output) else output))
    return metrics.compute()
