from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeframe.core.noise import Noise, mix_seed


def test_the_same_key_gives_the_same_numbers_whatever_came_before() -> None:
    first = Noise(0, "train", 3, 7)
    torch.rand(100)
    first.derive_stream("other").normal((5,))
    again = Noise(0, "train", 3, 7)
    assert torch.equal(first.uniform((4, 3)), again.uniform((4, 3)))


def test_other_seeds_steps_and_streams_give_other_numbers() -> None:
    keys = [
        Noise(0, 1),
        Noise(1, 0),
        Noise(0, 2),
        Noise(0, 1).derive_stream("a"),
        Noise(0, 1).derive_stream("b"),
    ]
    drawn = [tuple(noise.uniform((3,)).tolist()) for noise in keys]
    assert len(set(drawn)) == len(drawn)


@given(rows=st.integers(1, 6), world=st.integers(1, 4), normal=st.booleans())
def test_ranks_together_see_what_one_process_sees(rows: int, world: int, normal: bool) -> None:
    def draw(noise: Noise, count: int) -> torch.Tensor:
        return noise.normal((count, 5)) if normal else noise.uniform((count, 5))

    whole = draw(Noise(4, "x"), rows * world)
    for rank in range(world):
        part = draw(Noise(4, "x", rank=rank, world=world), rows)
        assert torch.equal(part, whole[rank::world])


def test_mix_is_a_valid_seed_and_stable() -> None:
    assert mix_seed(0, "order", 1) == mix_seed(0, "order", 1)
    assert 0 <= mix_seed("anything") < 2**63
    torch.Generator().manual_seed(mix_seed(1))


@pytest.mark.parametrize("total", [5, 6, 17])
def test_ranks_with_unequal_shares_see_what_one_process_sees(total: int) -> None:
    alone = Noise("a", rows=total).normal((total, 3))
    for rank in (0, 1):
        share = len(range(rank, total, 2))
        own = Noise("a", rank=rank, world=2, rows=total).derive_stream("b")
        assert own.rows == total
        found = Noise("a", rank=rank, world=2, rows=total).normal((share, 3))
        assert torch.equal(found, alone[rank::2])
