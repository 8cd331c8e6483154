"""Denoising: the encoder reads a corrupted input, and the target stays clean (Vincent et al. 2010).

Noise is drawn afresh in each step, and never written into x.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from aeframe.constraints.constraint import Constraint, Corrupted, Data
from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.distributed import gather_rows
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock, Scheduled, parse_schedule
from aeframe.models.autoencoder import Autoencoder

Share = Annotated[Scheduled, AtLeast(0), AtMost(1)]
Emphasis = Annotated[float, AtLeast(0), AtMost(1e6)]


class _Choosing(Constraint):
    """The base of constraints that corrupt a share of the elements, which may have another weight in the
    reconstruction.

    emphasis_corrupted, emphasis_rest: those weights; (1, 0) is full emphasis, (1, 0.5) double.
    """

    gives = frozenset({"corrupted input"})

    def __init__(
        self,
        fraction: Share,
        emphasis_corrupted: float,
        emphasis_rest: float,
    ) -> None:
        super().__init__()
        if emphasis_corrupted == emphasis_rest == 0:
            raise ValueError(
                "emphasis_corrupted and emphasis_rest are both 0; nothing is left to learn"
            )
        self.fraction = parse_schedule(fraction)
        self.emphasis_corrupted, self.emphasis_rest = emphasis_corrupted, emphasis_rest
        if not emphasis_corrupted == emphasis_rest == 1:
            self.declare(gives=["weighted elements"])

    def emphasis(self, mask: Tensor) -> Tensor | None:
        if "weighted elements" not in self.gives:
            return None
        return torch.where(mask, self.emphasis_corrupted, self.emphasis_rest)


class Masking(_Choosing):
    """Corruption that sets a share of the elements to 0.

    exact: the same number in every sample, as in Vincent et al. 2010; else each by its own coin.
    """

    def __init__(
        self,
        *,
        fraction: Share,
        exact: bool = True,
        emphasis_corrupted: Emphasis = 1.0,
        emphasis_rest: Emphasis = 1.0,
    ) -> None:
        super().__init__(fraction, emphasis_corrupted, emphasis_rest)
        self.exact = exact

    def corrupt(self, x: Tensor, noise: Noise, clock: Clock) -> Corrupted:
        fraction = self.fraction(clock)
        uniform = noise.uniform(x.shape, x.device)
        if self.exact:
            flat = uniform.flatten(1)
            chosen = flat.argsort(1)[:, : round(fraction * flat.shape[1])]
            mask = torch.zeros_like(flat, dtype=torch.bool).scatter(1, chosen, True).view_as(x)
        else:
            mask = uniform < fraction
        return Corrupted(x.masked_fill(mask, 0.0), mask)


class SaltAndPepper(_Choosing):
    """Corruption that sets a share of the elements to the lowest or the highest value, by a fair coin."""

    def __init__(
        self,
        *,
        fraction: Share,
        emphasis_corrupted: Emphasis = 1.0,
        emphasis_rest: Emphasis = 1.0,
    ) -> None:
        super().__init__(fraction, emphasis_corrupted, emphasis_rest)
        self.register_buffer("extremes", torch.tensor([0.0, 1.0]))

    def attach(self, model: Autoencoder, data: Data) -> None:
        # the range of a source may be whole numbers
        self.extremes = torch.tensor([data.low, data.high], dtype=data.batch.dtype)

    def corrupt(self, x: Tensor, noise: Noise, clock: Clock) -> Corrupted:
        fraction = self.fraction(clock)
        uniform = noise.uniform(x.shape, x.device)
        mask = uniform < fraction
        low, high = self.extremes.to(x.dtype)
        salt = torch.where(uniform < fraction / 2, low, high)
        return Corrupted(torch.where(mask, salt, x), mask)


class SwapNoise(_Choosing):
    """Corruption that replaces a share of the values by those of the same element in other samples of the
    batch, as in the winning solution of the Porto Seguro competition (Jahrer 2017).

    The elements of one column of a table are replaced together. With several processes the samples are
    those of the whole batch in training, and those of the own process elsewhere.
    """

    column: Tensor | None

    def __init__(
        self,
        *,
        fraction: Share,
        emphasis_corrupted: Emphasis = 1.0,
        emphasis_rest: Emphasis = 1.0,
    ) -> None:
        super().__init__(fraction, emphasis_corrupted, emphasis_rest)
        self.register_buffer("column", None)  # of each element of a sample

    def attach(self, model: Autoencoder, data: Data) -> None:
        if data.columns is not None:
            widths = [column.width for column in data.columns.columns]
            numbers = [number for number, width in enumerate(widths) for _ in range(width)]
            self.column = torch.tensor(numbers, device=data.batch.device)

    def corrupt(self, x: Tensor, noise: Noise, clock: Clock) -> Corrupted:
        flat = x.flatten(1)
        everyone, rank, world = flat, 0, 1
        if self.training:
            everyone, rank, world = gather_rows(flat), noise.rank, noise.world
        total, own = len(everyone), torch.arange(len(flat), device=x.device) * world + rank
        mask = self._draw(flat, noise.derive_stream("chosen")) < self.fraction(clock)
        steps = self._draw(flat, noise.derive_stream("other")) * (total - 1)
        steps = 1 + steps.long().clamp(max=max(0, total - 2))  # another sample, if there is one
        others = everyone.gather(0, (own[:, None] + steps) % total)
        return Corrupted(torch.where(mask, others, flat).view_as(x), mask.view_as(x))

    def _draw(self, flat: Tensor, noise: Noise) -> Tensor:
        """Draw a number in [0, 1) for each element [B, D], the same for all elements of a column."""
        if self.column is None:
            return noise.uniform(flat.shape, flat.device)
        each = noise.uniform((len(flat), int(self.column[-1]) + 1), flat.device)
        return each[:, self.column]


class GaussianNoise(Constraint):
    """Corruption that adds N(0, sigma^2) to x, in normalized units, without clipping."""

    def __init__(self, *, sigma: Annotated[Scheduled, AtLeast(0), AtMost(1e9)]) -> None:
        super().__init__()
        self.sigma = parse_schedule(sigma)

    def corrupt(self, x: Tensor, noise: Noise, clock: Clock) -> Corrupted:
        noisy = x + self.sigma(clock) * noise.normal(x.shape, x.device).to(x.dtype)
        return Corrupted(noisy, torch.ones_like(x, dtype=torch.bool))
