"""Splits of a source: samples for training, validation and the test."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aeframe.core.errors import UserError
from aeframe.core.noise import mix_seed
from aeframe.data.classes import Names, choose_rows
from aeframe.data.source import Raw, Samples, choose_row_dtype

TRAIN, VALIDATION, TEST, UNUSED = range(4)


@dataclass(frozen=True)
class Splitting:
    """Random split of the samples, a function of the seed.

    val_fraction, test_fraction: shares of the samples; official splits replace them. only,
    exclude: names of classes.
    """

    seed: int
    val_fraction: float
    test_fraction: float
    only: Names | None = None
    exclude: Names | None = None

    def split(self, raw: Raw) -> dict[str, Samples]:
        """Return the splits `train`, `val` (unless its fraction is 0) and `test`.

        Raises UserError for too few samples.
        """
        chosen = choose_rows(raw, self.only, self.exclude)
        units = torch.arange(len(raw) // raw.together)  # samples, or images with all their crops
        if chosen is not None:
            units = units[chosen[:: raw.together]]
        n = len(units)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, "split"))
        order = units[torch.randperm(n, generator=generator, dtype=choose_row_dtype(n)).long()]
        held = 0 if raw.test is not None else max(1, round(self.test_fraction * n))
        has_val = self.val_fraction > 0 or raw.val is not None
        val = max(1, round(self.val_fraction * n)) if has_val and raw.val is None else 0
        if n - held - val < 1:
            raise self._build_error(n, held, val, "sample" if raw.together == 1 else "image")
        part = torch.full((len(raw) // raw.together,), UNUSED, dtype=torch.uint8)
        part[order] = TRAIN
        part[order[:held]], part[order[held : held + val]] = TEST, VALIDATION
        part = part.repeat_interleave(raw.together)
        # each split in the order of the source, so that reads of memory-mapped data move forwards
        train, validation, test = (
            Samples(raw, (part == which).nonzero().flatten().to(choose_row_dtype(len(part))))
            for which in (TRAIN, VALIDATION, TEST)
        )
        if raw.test is not None:
            test = self._take_all(raw.test)
        if raw.val is not None:
            validation = self._take_all(raw.val)
        splits = {"train": train, "val": validation, "test": test}
        return splits if has_val else {"train": train, "test": test}

    def _take_all(self, raw: Raw) -> Samples:
        """Return all chosen samples of an official split."""
        chosen = choose_rows(raw, self.only, self.exclude)
        count = len(raw)
        rows = torch.arange(count) if chosen is None else chosen.nonzero().flatten()
        return Samples(raw, rows.to(choose_row_dtype(count)))

    @staticmethod
    def _build_error(n: int, held: int, val: int, thing: str) -> UserError:
        what = (
            f"no {thing}s are left to train on: of {n}, validation takes {val} and the test {held}"
        )
        least = 1 + (val > 0) + (held > 0)
        remedy = "Write smaller fractions." if n >= least else f"Give at least {least} {thing}s."
        return UserError("dataset.val_fraction", what, remedy)
