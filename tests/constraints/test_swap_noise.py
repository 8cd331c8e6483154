"""Swap noise: values of other samples of the batch, column by column."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeframe.constraints import SwapNoise, corruption
from aeframe.core.noise import Noise
from aeframe.data import Column, Schema
from tests.support.constraint_tools import NOW, data, model

NUMBERED = torch.arange(40)[:, None] * 1000.0 + torch.arange(6)  # row and column of each value
COLUMNS = Schema(
    (
        Column("a", "numeric"),
        Column("b", "categorical", ("x", "y", "z")),
        Column("c", "date"),
        Column("d", "boolean", ("0", "1")),
    )
)


@given(st.floats(0, 1), st.integers(0, 99), st.integers(1, 40))
def test_a_value_comes_from_the_same_column_of_another_row(
    fraction: float, seed: int, rows: int
) -> None:
    x = NUMBERED[:rows]
    found = SwapNoise(fraction=fraction).corrupt(x, Noise(seed), NOW)
    row, column = found.x.div(1000, rounding_mode="floor"), found.x % 1000
    assert torch.equal(column, torch.arange(6.0).expand(rows, 6))
    assert bool(((row >= 0) & (row < rows)).all())
    own = torch.arange(rows)[:, None]
    assert torch.equal(row != own, found.mask if rows > 1 else torch.zeros_like(found.mask))


def test_each_value_has_its_own_chance_and_every_other_row_the_same() -> None:
    x = torch.arange(10.0)[:, None].expand(10, 3000)
    found = SwapNoise(fraction=0.3).corrupt(x, Noise(0), NOW)
    deviation = math.sqrt(0.3 * 0.7 * x.numel())
    assert abs(float(found.mask.sum()) - 0.3 * x.numel()) < 4 * deviation
    steps = (found.x - x)[found.mask] % 10
    counts = torch.bincount(steps.long(), minlength=10)
    assert counts[0] == 0
    expected = len(steps) / 9
    assert bool(((counts[1:] - expected).abs() < 5 * math.sqrt(expected)).all())


def test_elements_of_a_category_are_swapped_together() -> None:
    part = SwapNoise(fraction=0.5)
    part.attach(model(), replace(data(NUMBERED), columns=COLUMNS))
    found = part.corrupt(NUMBERED, Noise(1), NOW)
    row = found.x.div(1000, rounding_mode="floor")
    assert torch.equal(row[:, 1], row[:, 2])
    assert torch.equal(row[:, 1], row[:, 3])
    assert torch.equal(found.mask[:, 1], found.mask[:, 3])
    assert not torch.equal(found.mask[:, 0], found.mask[:, 1])
    assert not torch.equal(found.mask[:, 4], found.mask[:, 5])
    assert part.state_dict()["column"].tolist() == [0, 1, 1, 1, 2, 3]


def test_two_ranks_swap_as_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    part = SwapNoise(fraction=0.5)
    whole = part.corrupt(NUMBERED, Noise(3, rows=40), NOW)
    monkeypatch.setattr(corruption, "gather_rows", lambda rows: NUMBERED)
    for rank in (0, 1):
        noise = Noise(3, rank=rank, world=2, rows=40)
        found = part.corrupt(NUMBERED[rank::2], noise, NOW)
        assert torch.equal(found.x, whole.x[rank::2])
        assert torch.equal(found.mask, whole.mask[rank::2])
    # outside training the processes may have different numbers of batches, and do not talk
    alone = part.eval().corrupt(NUMBERED[1::2], Noise(3, rank=1, world=2, rows=40), NOW)
    row = alone.x.div(1000, rounding_mode="floor")
    assert bool((row % 2 == 1).all())


def test_images_and_schedules() -> None:
    x = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    found = SwapNoise(fraction=1.0).corrupt(x, Noise(0), NOW)
    assert torch.equal(x, before)
    assert found.mask.all()
    assert found.x.shape == x.shape
    assert not bool((found.x == x).any())
    for place in ((0, 1, 2), (2, 3, 3)):
        assert set(found.x[:, *place].tolist()) <= set(x[:, *place].tolist())
