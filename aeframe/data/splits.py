"""Splits of a source: samples for training, validation and the test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.core.noise import mix_seed
from aeframe.data.classes import choose_rows
from aeframe.data.shard_rows import ShardRows
from aeframe.data.source import ClassNames, Raw, Samples, choose_row_dtype
from aeframe.data.streamed import StreamedSamples
from aeframe.data.windows import split_in_time

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
    only: ClassNames | None = None
    exclude: ClassNames | None = None

    def split(self, raw: Raw) -> dict[str, Samples]:
        """Return the splits `train`, `val` (unless its fraction is 0) and `test`.

        Raises UserError for too few samples.
        """
        chosen = self._choose(raw)
        units = torch.arange(_count_units(raw))
        if chosen is not None:
            units = units[chosen[:: raw.together]]
        n = len(units)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, "split"))
        order = units[torch.randperm(n, generator=generator, dtype=choose_row_dtype(n)).long()]
        held = 0 if raw.test is not None else max(1, round(self.test_fraction * n))
        has_val = self.val_fraction > 0 or raw.val is not None
        val = max(1, round(self.val_fraction * n)) if has_val and raw.val is None else 0
        if n - held - val < 1:
            raise self._build_error(n, held, val, _name_unit(raw))
        part = torch.full((_count_units(raw),), UNUSED, dtype=torch.uint8)
        if (spans := raw.rows.spans) is not None:
            for which, rows in enumerate(split_in_time(units, spans, held, val)):
                part[rows] = which
        else:
            part[order] = TRAIN
            part[order[:held]], part[order[held : held + val]] = TEST, VALIDATION
        train, validation, test = (
            _take_units(raw, part == which) for which in (TRAIN, VALIDATION, TEST)
        )
        if raw.test is not None:
            test = self._take_all(raw.test)
        if raw.val is not None:
            validation = self._take_all(raw.val)
        splits = {"train": train, "val": validation, "test": test}
        return splits if has_val else {"train": train, "test": test}

    def _take_all(self, raw: Raw) -> Samples:
        """Return all chosen samples of an official split."""
        chosen = self._choose(raw)
        return _take_units(raw, torch.ones(_count_units(raw)) > 0 if chosen is None else chosen)

    def _choose(self, raw: Raw) -> Tensor | None:
        """Choose the samples by their classes. Raises UserError for a choice among rows in shards."""
        if isinstance(raw.data, ShardRows) and (self.only is not None or self.exclude):
            key = "only" if self.only is not None else "exclude"
            remedy = f"Write dataset.memory_limit={-(-raw.nbytes // 2**30)} if it fits into memory."
            raise UserError(f"dataset.{key}", "needs data in memory", remedy)
        return choose_rows(raw, self.only, self.exclude)

    @staticmethod
    def _build_error(n: int, held: int, val: int, thing: str) -> UserError:
        what = (
            f"no {thing}s are left to train on: of {n}, validation takes {val} and the test {held}"
        )
        least = 1 + (val > 0) + (held > 0)
        remedy = "Write smaller fractions." if n >= least else f"Give at least {least} {thing}s."
        return UserError("dataset.val_fraction", what, remedy)


def _count_units(raw: Raw) -> int:
    """Count the units of a random split: samples, images with all their crops, or blocks of rows."""
    return len(raw.data.lengths) if isinstance(raw.data, ShardRows) else len(raw) // raw.together


def _name_unit(raw: Raw) -> str:
    if isinstance(raw.data, ShardRows):
        return "block of row"
    if raw.rows.spans is not None:
        return "window"
    return "sample" if raw.together == 1 else "image"


def _take_units(raw: Raw, taken: Tensor) -> Samples:
    """Return the samples of some units, bool [units], in the order of the source.

    Reads of memory-mapped data then move forwards.
    """
    if isinstance(raw.data, ShardRows):
        return StreamedSamples(raw, raw.data, taken.nonzero().flatten())
    rows = taken.repeat_interleave(len(raw) // len(taken)).nonzero().flatten()
    return Samples(raw, rows.to(choose_row_dtype(len(raw))))
