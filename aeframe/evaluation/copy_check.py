"""Copy check: does a network reconstruct anything, or only data like its training data?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.shares import format_share
from aeframe.data.gaps import average_present

CHUNK = 256  # samples that are passed through the network at once
WIDE = 10.0  # times the median spread: such columns dominate a mean
LEARNED = 0.5  # share of a column's variance that is explained
MOST = 0.9  # share of the columns that is enough: a few are always harder


@dataclass(frozen=True)
class CopyCheck:
    """Reconstruction errors (MSE per pixel) on real held-out samples and on noise.

    shuffled: every pixel is taken from another sample. So each pixel keeps its distribution, and only the
    dependence between pixels is lost. permuted: real samples with their pixels in another, fixed order.
    shuffled_variance: the error that a constant would make on the shuffled samples. mean_image: the error
    of the training data's mean on the real ones. samples: their number. columns: the number of columns of
    a table (or channels) if their spreads differ widely, else 0. Each then counts alike, by the share of
    its variance that is lost, at most 1. learned: the number of columns with at least half of their
    variance explained. explained: the explained variance of the whole test split, as in the table, if it
    was measured.
    """

    real: float
    shuffled: float
    permuted: float
    shuffled_variance: float
    mean_image: float
    samples: int
    columns: int = 0
    learned: int = 0
    explained: float | None = None

    limit = 2 / 3
    fewest = 10  # samples that are needed to make noise

    @property
    def ratio(self) -> float:
        """Return the factor by which noise is reconstructed worse than data."""
        return self.shuffled / max(self.real, 1e-12)

    @property
    def copied(self) -> float:
        """Return the share of the noise's variance that is reconstructed: 1 for a network that copies."""
        return max(0.0, 1 - self.shuffled / max(self.shuffled_variance, 1e-12))

    @property
    def kept(self) -> float:
        """Return the share of the variance that is reconstructed; columns of wide spreads count alike."""
        if self.explained is not None and not self.columns:
            return self.explained
        return 1 - self.real / max(self.mean_image, 1e-12)

    @property
    def passed(self) -> bool:
        """Check that less than two thirds of the noise is reconstructed, or that samples are too few."""
        return self.copied < self.limit or self.samples < self.fewest

    @property
    def hides_columns(self) -> bool:
        """Check for columns that are lost beside those with the largest spreads."""
        return self.learned < MOST * self.columns

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        derived = {"ratio": self.ratio, "copied": self.copied, "passed": self.passed}
        return {**asdict(self), **derived, "sentence": self.sentence}

    @property
    def report_line(self) -> str:
        """Return the line of a report."""
        compared = f"noise is reconstructed {self.ratio:.1f} times worse than data"
        return f"Copy check: {compared}. {self.sentence}"

    @property
    def sentence(self) -> str:
        """State the result in plain words."""
        if self.samples < self.fewest:
            samples = f"{self.samples} test sample{'' if self.samples == 1 else 's'}"
            return f"Only {samples}: too few for this check."
        if self.hides_columns:
            return (
                f"The network learned {self.learned} of {self.columns} columns: beside the largest the "
                "others vary too little to count."
            )
        kept = self.kept
        if kept <= 0.005:
            return "The network has learned nothing yet: its error is no lower than that of the data's mean."
        if kept < 0.1:
            return f"The network has learned almost nothing yet: it explains {kept:.0%} of the variance."
        share = f"{format_share(self.copied)} of pure noise"
        if self.passed:
            how = "learned" if kept >= 0.5 else "began to learn"
            explained = f"it explains {format_share(kept)} of its variance and only {share}"
            return f"The network {how} this data: {explained}."
        return f"The network copies its input: it reconstructs {share}."


@torch.no_grad()
def check_copying(net: ConstrainedAutoencoder, x: Tensor, mean: Tensor) -> CopyCheck:
    """Measure a network on x, [N, *shape] and normalized, and on noise made from it.

    mean: of the training data, [*shape].
    """
    generator = torch.Generator().manual_seed(0)
    flat = x.flatten(1)
    orders = torch.rand(flat.shape, generator=generator).argsort(0).to(x.device)
    shuffled = flat.gather(0, orders).view_as(x)
    order = torch.randperm(flat.shape[1], generator=generator).to(x.device)
    permuted = flat[:, order].view_as(x)
    present = net.normalization.find_present(flat)
    about = flat - average_present(flat, present, 0)
    variance = average_present(about.square(), present, 0)
    spreads = Spreads.compare(variance, x.shape[1:])
    real, noise, moved = (_compute_errors(net, y) for y in (x, shuffled, permuted))
    moved = torch.empty_like(moved).index_copy(0, order, moved)  # where the pixels came from
    mean_image = average_present((x - mean).square(), present, 0)
    return CopyCheck(
        real=spreads.average(real),
        shuffled=spreads.average(noise),
        permuted=spreads.average(moved),
        shuffled_variance=spreads.average(variance),
        mean_image=spreads.average(mean_image),
        samples=len(x),
        columns=spreads.columns,
        learned=spreads.count_learned(real),
    )


class Spreads(NamedTuple):
    """Variances of a table's columns or of images' channels, [G], if they differ widely."""

    variances: Tensor | None

    @classmethod
    def compare(cls, variance: Tensor, shape: torch.Size) -> Spreads:
        """Compare columns. variance: of each feature, [F]. shape: of a sample."""
        each = variance.view(shape[0], -1).mean(1)
        varying = each[each > 0]
        wide = len(varying) > 1 and bool(varying.max() > WIDE**2 * varying.median())
        return cls(each if wide else None)

    @property
    def columns(self) -> int:
        """Return the number of columns that vary; 0 if their spreads are alike."""
        return 0 if self.variances is None else int((self.variances > 0).sum())

    def average(self, errors: Tensor) -> float:
        """Average the errors of features, [F]: as they are, or as shares of their columns' variances."""
        return float((errors if self.variances is None else self._compute_shares(errors)).mean())

    def count_learned(self, errors: Tensor) -> int:
        """Count the columns with at least half of their variance reconstructed."""
        return 0 if self.variances is None else int((self._compute_shares(errors) <= LEARNED).sum())

    def _compute_shares(self, errors: Tensor) -> Tensor:
        assert self.variances is not None
        varies = self.variances > 0
        each = errors.view(len(self.variances), -1).mean(1)
        return (each[varies] / self.variances[varies]).clamp(max=1)


def _compute_errors(net: ConstrainedAutoencoder, x: Tensor) -> Tensor:
    """Return the mean squared error of each feature, [F]."""
    restored = torch.cat([net.reconstruct(part) for part in x.split(CHUNK)])
    return average_present((restored - x).square(), net.normalization.find_present(x), 0)
