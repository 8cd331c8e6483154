"""Samples with gaps, as a source of data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.data import DataModule, Raw, Source


def make_table(rows: int = 120, share: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make samples near a plane, [rows, 6], whole and with gaps in place of a share of the values."""
    generator = torch.Generator().manual_seed(seed)
    code = torch.randn(rows, 2, generator=generator)
    whole = code @ torch.randn(2, 6, generator=generator) * torch.tensor([1, 1, 1, 5, 5, 20])
    whole = whole + 3 + 0.1 * torch.randn(rows, 6, generator=generator)
    chosen = torch.rand(rows, 6, generator=generator) < share
    return whole, whole.masked_fill(chosen, torch.nan)


@dataclass
class Gappy(Source):
    """Source of samples in memory, which may have gaps."""

    samples: Tensor
    gaps: bool = True
    test: Tensor | None = None

    def shape(self) -> tuple[int, ...]:
        return tuple(self.samples.shape[1:])

    def load(self) -> Raw:
        test = None if self.test is None else Raw(self.test, gaps=self.gaps)
        return Raw(self.samples, gaps=self.gaps, test=test)


def set_up(samples: Tensor, *, gaps: bool = True, **options: object) -> DataModule:
    """Set up the data module of samples that may have gaps."""
    test = options.pop("test", None)
    options.setdefault("normalization", "standard")
    made = DataModule(source=Gappy(samples, gaps, test), seed=0, **options)  # type: ignore[arg-type]
    made.setup()
    return made
