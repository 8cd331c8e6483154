"""Whether samples are like the training data: from how they come back, and from what their codes cost.

Data of another kind comes back worse, or takes more bits, or both. A single sample shows it only where it
lies beyond all that was held out; many of them show it together, by how many lie where few should.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aeframe.codec.entropy.tables import ESCAPED_BITS

Floats = NDArray[np.floating]

MARGIN = (
    3.0  # dB below the worst held-out sample, from which on a single one is unlike: twice the error
)
STRETCH = (
    1.5  # times the bits of the most expensive held-out one, likewise, and a number no table knows
)
SHARE = 0.02  # of the held-out samples that come back worst, and of those that take the most bits
TOLERANCE = 3  # times as many may be expected: data sorted by class is still like the training data
CHANCE = 1e-6  # of so many in a group or more, from which on the group is unlike as a whole
GROUP = 1000  # consecutive samples that are judged together


class Finding(NamedTuple):
    """Samples that are unlike the training data, by their places, and how that shows."""

    places: NDArray[np.int64]
    what: str


@dataclass(frozen=True)
class Likeness:
    """What held-out samples of the training data were like.

    limit: the PSNR in dB, and most_bits: the bits, beyond which no sample is like them. low_psnr, high_bits:
    of the `rank`-th worst and the `rank`-th most expensive of so many held-out ones. Of photographs, whose
    bits say more of their content than of their kind, and in old files, there is the limit alone.
    """

    limit: float
    most_bits: float = math.inf
    low_psnr: float = -math.inf
    high_bits: float = math.inf
    rank: int = 0
    held_out: int = 0

    def findings(self, psnr: Floats, bits: Floats) -> list[Finding]:
        """Which of these samples are unlike, [n] each, first the single ones."""
        found = [
            Finding(np.array([i]), self._of_one(float(psnr[i]), float(bits[i])))
            for i in np.flatnonzero((psnr < self.limit) | (bits > self.most_bits))
        ]
        if not self.held_out:
            return found
        for start in range(0, len(psnr), GROUP):
            end = min(start + GROUP, len(psnr))
            bad, dear = psnr[start:end] < self.low_psnr, bits[start:end] > self.high_bits
            for count, doing in ((bad.sum(), "come back worse"), (dear.sum(), "take more bits")):
                if self.chance(int(count), end - start) < CHANCE:
                    what = (
                        f"{count:,} of these {end - start:,} {doing} than {1 - SHARE:.0%} of the"
                        " held-out samples do, which is too many for data like the training data"
                    )
                    found.append(Finding(np.arange(start, end), what))
        return found

    def _of_one(self, psnr: float, bits: float) -> str:
        like = "and what is like the training data"
        if psnr < self.limit:
            return f"comes back with {psnr:.1f} dB, {like} with more than {self.limit:.1f} dB"
        return f"takes {bits:.0f} bits, {like} at most {self.most_bits:.0f}"

    def chance(self, count: int, samples: int) -> float:
        """That so many of these samples or more lie beyond the TOLERANCE * rank-th held-out one, for
        samples of the same distribution, whatever it is.

        Of how many lie beyond an order statistic the law is a beta-binomial one (Wilks 1942).
        """
        rank = min(TOLERANCE * self.rank, self.held_out)
        rest = self.held_out - rank + 1
        whole = _log_beta(rank, rest)
        return sum(
            math.exp(
                math.lgamma(samples + 1)
                - math.lgamma(j + 1)
                - math.lgamma(samples - j + 1)
                + _log_beta(j + rank, samples - j + rest)
                - whole
            )
            for j in range(count, samples + 1)
        )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def measure_likeness(psnr: Floats, bits: Floats) -> Likeness:
    """That of held-out samples, [n] each, n > 0."""
    rank = max(1, round(SHARE * len(psnr)))
    return Likeness(
        float(psnr.min()) - MARGIN,
        float(bits.max()) * STRETCH + ESCAPED_BITS,
        float(np.sort(psnr)[rank - 1]),
        float(np.sort(bits)[-rank]),
        rank,
        len(psnr),
    )
