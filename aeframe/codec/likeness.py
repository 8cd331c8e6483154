"""Likeness: a test whether samples are like the training data, by their PSNR and the bits of their codes.

Other data has a lower PSNR, or needs more bits, or both. A single sample is refused only if it is far
beyond all held-out samples. A group is refused if too many of its samples are in the tail of the held-out
ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aeframe.codec.entropy.tables import ESCAPED_BITS

Floats = NDArray[np.floating]

MARGIN = 3.0
"""dB below the worst held-out sample at which a single sample is refused: twice its error."""
STRETCH = 1.5
"""Times the bits of the most expensive held-out sample, plus one escaped number, for the same."""
SHARE = 0.02  # of the held-out samples: those with the lowest PSNR, and those with the most bits
TOLERANCE = 3  # factor for data sorted by class, which is still like the training data
CHANCE = 1e-6  # probability below which a whole group is refused
GROUP = 1000  # consecutive samples that are judged together


class Finding(NamedTuple):
    """Samples unlike the training data. places: their positions. what: the reason."""

    places: NDArray[np.int64]
    what: str


@dataclass(frozen=True)
class Likeness:
    """Statistics of held-out samples, as limits for other samples.

    limit, most_bits: a sample with less PSNR (dB) or more bits is refused. low_psnr, high_bits: of the
    `rank`-th worst and the `rank`-th most expensive of the `held_out` samples. For photographs, whose bits
    depend on their content, and in old files, there is only the limit.
    """

    limit: float
    most_bits: float = math.inf
    low_psnr: float = -math.inf
    high_bits: float = math.inf
    rank: int = 0
    held_out: int = 0

    def list_findings(self, psnr: Floats, bits: Floats) -> list[Finding]:
        """Find samples unlike the training data: first single ones, then groups. psnr, bits: [n]."""
        found = [
            Finding(np.array([i]), self._describe_one(float(psnr[i]), float(bits[i])))
            for i in np.flatnonzero((psnr < self.limit) | (bits > self.most_bits))
        ]
        if not self.held_out:
            return found
        for start in range(0, len(psnr), GROUP):
            end = min(start + GROUP, len(psnr))
            bad, costly = psnr[start:end] < self.low_psnr, bits[start:end] > self.high_bits
            for count, doing in (
                (bad.sum(), "have a lower PSNR"),
                (costly.sum(), "need more bits"),
            ):
                if self.compute_chance(int(count), end - start) < CHANCE:
                    what = (
                        f"{count:,} of these {end - start:,} {doing} than {1 - SHARE:.0%} of the"
                        " held-out samples, too many for data like the training data"
                    )
                    found.append(Finding(np.arange(start, end), what))
        return found

    def _describe_one(self, psnr: float, bits: float) -> str:
        like = "data like the training data"
        if psnr < self.limit:
            return f"has a PSNR of {psnr:.1f} dB, {like} has more than {self.limit:.1f} dB"
        return f"needs {bits:.0f} bits, {like} at most {self.most_bits:.0f}"

    def compute_chance(self, count: int, samples: int) -> float:
        """Compute the probability that `count` or more samples exceed the TOLERANCE * rank-th held-out one.

        It holds for samples of the same distribution, of any form: the number beyond an order statistic
        has a beta-binomial distribution (Wilks 1942).
        """
        from scipy.special import betaln  # late: training does not need it

        rank = min(TOLERANCE * self.rank, self.held_out)
        rest = self.held_out - rank + 1
        more = np.arange(count, samples + 1)
        ways = -np.log(samples + 1) - betaln(more + 1, samples - more + 1)
        logs = ways + betaln(more + rank, samples - more + rest) - betaln(rank, rest)
        return float(np.exp(logs).sum())


def measure_likeness(psnr: Floats, bits: Floats) -> Likeness:
    """Measure the likeness from held-out samples, psnr and bits [n], n > 0."""
    rank = max(1, round(SHARE * len(psnr)))
    return Likeness(
        float(psnr.min()) - MARGIN,
        float(bits.max()) * STRETCH + ESCAPED_BITS,
        float(np.sort(psnr)[rank - 1]),
        float(np.sort(bits)[-rank]),
        rank,
        len(psnr),
    )
