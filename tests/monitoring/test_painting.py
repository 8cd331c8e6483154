"""Samples as tiles, and tiles as a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.models import Code, Output
from aeframe.monitoring.dashboard.grids import comparison
from aeframe.monitoring.dashboard.painting import (
    GAP,
    LINE,
    MARGIN,
    SIDE,
    Curves,
    Pictures,
    grid,
    hot,
    lines,
    painter,
    picture_of,
    sheet,
)
from aeframe.monitoring.dashboard.projector import square
from tests.support.constraint_tools import identity

BOTH = Pictures(-1.0, 1.0)


def output(x: Tensor, restored: Tensor, corrupted: Tensor | None = None) -> Output:
    code = Code(torch.zeros(len(x), 1), torch.zeros(len(x), 1))
    seen = x if corrupted is None else corrupted
    return Output(x, seen, None, code, restored, identity, {})


def compared(x: Tensor, restored: Tensor, corrupted: Tensor | None = None) -> Tensor:
    rows, _ = comparison(output(x, restored, corrupted), corrupted is not None, BOTH)
    return grid(rows)


def colours(n: int, side: int = 56, channels: int = 3, seed: int = 0) -> Tensor:
    """Values in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=generator) * 2 - 1


def cut(grid: Tensor, row: int, column: int, side: int = 56) -> Tensor:
    top, left = GAP + row * (side + GAP), GAP + column * (side + GAP)
    return grid[:, top : top + side, left : left + side]


def test_a_grid_of_colours_on_the_datas_own_scale() -> None:
    x, restored, corrupted = colours(2), colours(2, seed=1), colours(2, seed=2)
    grid = compared(x, restored, corrupted)
    assert grid.shape == (3, 4 * 58 + 2, 2 * 58 + 2)
    assert (grid[:, :2] == 0.5).all()
    for i in range(2):
        assert torch.allclose(cut(grid, 0, i), (x[i] + 1) / 2)
        assert torch.allclose(cut(grid, 1, i), (corrupted[i] + 1) / 2)
        assert torch.allclose(cut(grid, 2, i), (restored[i] + 1) / 2)
        off = (restored[i] - x[i]).abs() / 2  # as a share of the range, of which half is white
        expected = hot((2 * off).clamp(max=1).mean(0)[None, None])[0]
        assert torch.allclose(cut(grid, 3, i), expected, atol=1e-5)


def test_the_colours_of_errors_are_black_red_yellow_white() -> None:
    values = torch.tensor([0, 1 / 3, 2 / 3, 1.0, 1 / 6]).view(5, 1, 1)
    expected = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0.5, 0, 0]]
    assert torch.allclose(hot(values).squeeze(2), torch.tensor(expected), atol=1e-6)


def test_without_corruption_there_is_no_row_for_it() -> None:
    x = colours(2)
    grid = compared(x, x)
    assert grid.shape == (3, 3 * 58 + 2, 2 * 58 + 2)
    assert (cut(grid, 2, 1) == 0).all()  # no error is black


def test_of_several_drawn_codes_the_first_is_shown() -> None:
    x, first, second = colours(2), colours(2, seed=1), colours(2, seed=2)
    grid = compared(x, torch.cat([first, second]))
    assert grid.shape[1] == 3 * 58 + 2
    assert torch.allclose(cut(grid, 1, 1), (first[1] + 1) / 2)


def test_values_out_of_range_are_clipped() -> None:
    x = torch.full((1, 3, 56, 56), 0.5)
    grid = compared(x, x + 9)
    assert (cut(grid, 1, 0) == 1).all()
    assert (cut(grid, 2, 0) == 1).all()


def test_large_images_shrink_and_small_ones_grow_by_whole_pixels() -> None:
    large = compared(colours(1, 64), colours(1, 64))
    assert large.shape == (3, 3 * 66 + 2, 68)
    x = colours(1, 20)
    small = compared(x, x)
    assert small.shape == (3, 3 * 42 + 2, 44)
    assert torch.allclose(cut(small, 0, 0, 40)[:, ::2, ::2], (x[0] + 1) / 2)
    assert torch.equal(cut(small, 0, 0, 40)[:, 1::2, 1::2], cut(small, 0, 0, 40)[:, ::2, ::2])
    huge = colours(1, 256)
    means = (huge.view(3, 128, 2, 128, 2).mean((2, 4)) + 1) / 2
    assert torch.allclose(BOTH.show(huge)[0], means, atol=1e-6)
    assert BOTH.show(colours(1, 300)[:, :, :200]).shape == (1, 3, 85, 128)


def test_channels_that_are_no_colours_are_averaged() -> None:
    x = colours(1, channels=5)
    expected = (x[0].mean(0) + 1) / 2
    for channel in cut(compared(x, x), 0, 0):
        assert torch.allclose(channel, expected, atol=1e-6)


def test_weights_are_set_each_by_itself_and_grey_is_zero() -> None:
    w = torch.tensor([[4.0, -2.0, 0.0, 1.0], [0.01, 0.0, 0.0, 0.0], [0.0] * 4]).view(3, 1, 2, 2)
    tiles = BOTH.weights(w, 2)
    expected = [[1, 0.25, 0.5, 0.625], [1, 0.5, 0.5, 0.5], [0.5] * 4]
    assert torch.allclose(tiles.flatten(1), torch.tensor(expected))


def test_names_stand_beside_the_rows_and_above_the_columns() -> None:
    x = torch.zeros(2, 1, 56, 56)
    plain, named = sheet([x, x]), sheet([x, x], ["one", "two"], ["a", "b"])
    assert named.size == (plain.width + MARGIN, plain.height + LINE)
    assert named.crop((MARGIN, LINE, *named.size)).tobytes() == plain.tobytes()
    pixels = np.array(named)
    for top in (LINE, LINE + SIDE + GAP):
        assert (pixels[top : top + 20, :MARGIN] < 60).any()  # black on grey
    assert (pixels[:LINE, MARGIN + SIDE :] < 60).any()


def test_the_last_row_is_filled_up() -> None:
    rows = lines(torch.ones(5, 1, 4, 4), 3)
    assert [len(row) for row in rows] == [3, 3]
    assert (rows[1][2] == 0.5).all()
    assert [len(row) for row in lines(torch.ones(2, 1, 4, 4), 3)] == [2]


def test_a_sprite_has_no_seams() -> None:
    tiles = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 8
    whole = square(tiles)
    assert whole.shape == (1, 6, 9)
    assert torch.equal(whole[0, ::2, ::3].flatten()[:5], torch.arange(5.0) / 8)
    assert picture_of(whole).size == (9, 6)


# --------------------------------------------------------------------------------------------- curves


@pytest.mark.parametrize("shape", [(12,), (1, 1, 12), (2, 12, 1)])
def test_vectors_and_images_of_one_line_are_curves(shape: tuple[int, ...]) -> None:
    curves = painter(shape, 0.0, 1.0)
    assert isinstance(curves, Curves)
    x = (
        torch.linspace(0, 1, 12)
        .expand(3, shape[0] if len(shape) == 3 else 1, 12)
        .reshape(3, *shape)
    )
    for tiles in (
        curves.show(x),
        curves.restored(x, x),
        curves.error(x, x),
        curves.weights(x, SIDE),
    ):
        assert tiles.shape in ((3, 1, SIDE, 2 * SIDE), (3, 3, SIDE, 2 * SIDE))
        assert 0 <= tiles.min() <= tiles.max() <= 1


def test_a_curve_goes_through_its_values_without_gaps() -> None:
    values = torch.tensor([[0.0, 1.0, 0.5, 0.5]])
    tile = Curves(0.0, 1.0).show(values, 8)[0, 0].bool()  # 16 columns, four for each value
    rows = [column.nonzero().flatten().tolist() for column in tile.T]
    assert rows[0] == rows[3] == [7]  # the lowest value is at the bottom
    assert rows[4] == list(range(8))  # up to the highest
    assert rows[5] == rows[7] == [0]
    assert rows[8][0] == 0
    assert rows[9] == rows[15]
    assert len(rows[15]) == 1


def test_a_long_curve_keeps_its_extremes() -> None:
    values = torch.zeros(1, 1000)
    values[0, 417] = 1.0
    tile = Curves(0.0, 1.0).show(values)[0, 0]
    assert tile[0].any()


def test_a_reconstruction_is_drawn_over_what_it_is_to_be() -> None:
    curves = Curves(0.0, 1.0)
    tile = curves.restored(torch.zeros(1, 4), torch.ones(1, 4))[0]
    assert torch.allclose(tile[:, 0, 0], torch.tensor([1.0, 0.6, 0.1]))
    assert torch.allclose(tile[:, -1, 0], torch.full((3,), 0.6))
    bars = curves.error(torch.zeros(1, 4), torch.tensor([[0.0, 0.25, 0.5, 1.0]]))[0]
    filled = (bars[0] > 0).sum(0)
    assert filled[[0, SIDE // 2, SIDE, -1]].tolist() == [0, SIDE // 2, SIDE, SIDE]
    assert (bars[:, :, -1] == 1).all()
