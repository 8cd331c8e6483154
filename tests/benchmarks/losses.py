"""Check that two arms trained to the same error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tests.benchmarks.arms import Reading

LEAST, MOST = 0.02, 0.10
"""Limits of the tolerance. Few seeds may by chance lie close together; and arms that scatter by more than a
tenth prove nothing."""
UNKNOWN = 0.25
"""The tolerance of one run each, which says nothing of the scatter: large early in training."""


def tolerance(errors: Sequence[Sequence[float]]) -> float:
    """Return the share by which the means of two arms may differ.

    errors: of each arm over its seeds, equally many. With the pooled relative standard deviation s of one
    run, the difference of two means over n seeds scatters by s * sqrt(2 / n); four times that is beyond
    chance.
    """
    seeds = len(errors[0])
    if seeds == 1:
        return UNKNOWN
    relative = [statistics.variance(arm) / statistics.mean(arm) ** 2 for arm in errors]
    chance = math.sqrt(statistics.mean(relative) * 2 / seeds)
    return min(MOST, max(LEAST, 4 * chance))


def disagreement(
    reference: Sequence[Reading], contender: Sequence[Reading]
) -> tuple[float | None, str | None]:
    """Return the tolerance, and the problem, if any. None if errors are not compared."""
    pairs = [(r.mse, c.mse) for r, c in zip(reference, contender, strict=False)]
    known = [(r, c) for r, c in pairs if r is not None and c is not None]
    if not known:
        return None, None
    arms = list(zip(*known, strict=True))
    allowed = tolerance(arms)
    r, c = (statistics.mean(arm) for arm in arms)
    if abs(r - c) <= allowed * (r + c) / 2:  # NaN is no agreement
        return allowed, None
    return allowed, f"the errors {r:.5f} and {c:.5f} differ by more than {allowed:.1%}"
