"""Samples as tiles, and tiles as a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from aeframe.models import Code, Output
from aeframe.monitoring.dashboard.grids import compare
from aeframe.monitoring.dashboard.painting import Pictures, color_heat, convert_to_images, resize
from aeframe.monitoring.dashboard.paper import (
    EDGE,
    GAP,
    NORMAL,
    WIDTH,
    count_columns,
    fit_tiles,
    measure_text,
    wrap_text,
)
from aeframe.monitoring.dashboard.projector import join_tiles
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet, split_rows
from aeframe.monitoring.dashboard.signal_plots import BELOW, LEFT, Curves
from tests.support.constraint_tools import identity

BOTH = Pictures(-1.0, 1.0, 64)
LINES = Curves(0.0, 1.0, [(0.0, 1.0)], "value")


def output(x: Tensor, restored: Tensor, corrupted: Tensor | None = None) -> Output:
    code = Code(torch.zeros(len(x), 1), torch.zeros(len(x), 1))
    seen = x if corrupted is None else corrupted
    return Output(x, seen, None, code, restored, identity, {})


def compared(x: Tensor, restored: Tensor, corrupted: Tensor | None = None) -> list[Row]:
    made = output(x, restored, corrupted)
    return compare(made, corrupted is not None, BOTH, [str(i) for i in range(len(x))])


def colors(n: int, side: int = 64, channels: int = 3, seed: int = 0) -> Tensor:
    """Values in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=generator) * 2 - 1


def pixels(tile: Image.Image) -> Tensor:
    """Return the colors of a tile, [3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(tile.convert("RGB"))).permute(2, 0, 1) / 255


def near(a: Tensor, b: Tensor) -> bool:
    """Equal as far as bytes tell."""
    return bool((a - b).abs().max() < 0.6 / 255)


def test_a_grid_of_colors_on_the_datas_own_scale() -> None:
    x, restored, corrupted = colors(2), colors(2, seed=1), colors(2, seed=2)
    rows = compared(x, restored, corrupted)
    assert [row.name for row in rows] == [
        *("input", "corrupted input", "reconstruction"),
        "error: black is 0, white 50% of the data's range or more",
    ]
    assert rows[0].captions == ["0", "1"]
    for i in range(2):
        assert near(pixels(rows[0].tiles[i]), (x[i] + 1) / 2)
        assert near(pixels(rows[1].tiles[i]), (corrupted[i] + 1) / 2)
        assert near(pixels(rows[2].tiles[i]), (restored[i] + 1) / 2)
        off = (restored[i] - x[i]).abs() / 2  # as a share of the range, of which half is white
        expected = color_heat((2 * off).clamp(max=1).mean(0)[None, None])[0]
        assert near(pixels(rows[3].tiles[i]), expected)


def test_the_colors_of_errors_are_black_red_yellow_white() -> None:
    values = torch.tensor([0, 1 / 3, 2 / 3, 1.0, 1 / 6]).view(5, 1, 1)
    expected = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0.5, 0, 0]]
    assert torch.allclose(color_heat(values).squeeze(2), torch.tensor(expected), atol=1e-6)


def test_without_corruption_there_is_no_row_for_it() -> None:
    x = colors(2)
    rows = compared(x, x)
    assert len(rows) == 3
    assert (pixels(rows[2].tiles[1]) == 0).all()  # no error is black


def test_of_several_drawn_codes_the_first_is_shown() -> None:
    x, first, second = colors(2), colors(2, seed=1), colors(2, seed=2)
    rows = compared(x, torch.cat([first, second]))
    assert [len(row.tiles) for row in rows] == [2, 2, 2]
    assert near(pixels(rows[1].tiles[1]), (first[1] + 1) / 2)


def test_values_out_of_range_are_clipped() -> None:
    x = torch.full((1, 3, 64, 64), 0.5)
    rows = compared(x, x + 9)
    assert (pixels(rows[1].tiles[0]) == 1).all()
    assert (pixels(rows[2].tiles[0]) == 1).all()


@pytest.mark.parametrize(
    ("longer", "shown", "columns"),
    [(3, 66, 5), (8, 64, 5), (28, 84, 4), (32, 64, 5), (48, 96, 3), (64, 64, 5), (100, 100, 3)],
)
def test_small_images_grow_by_whole_pixels_to_64_at_least(
    longer: int, shown: int, columns: int
) -> None:
    paint = Pictures(0.0, 1.0, longer)
    x = torch.rand(1, 1, longer, longer)
    tile = pixels(paint.show(x)[0])
    assert paint.columns == columns
    assert columns * (shown + GAP) - GAP + 2 * EDGE <= WIDTH
    assert tile.shape == (3, shown, shown)
    each = shown // longer
    blocks = tile[0].view(longer, each, longer, each)
    assert near(blocks[:, :1, :, :1].expand_as(blocks), blocks)
    assert near(blocks[:, 0, :, 0], x[0, 0])


def test_large_images_shrink_and_small_ones_grow_by_whole_pixels() -> None:
    huge = colors(1, 256)
    means = (huge.view(3, 128, 2, 128, 2).mean((2, 4)) + 1) / 2
    (tile,) = convert_to_images((huge + 1) / 2)
    assert (pixels(resize(tile, 128)) - means).abs().max() < 2 / 255
    (wide,) = convert_to_images(torch.zeros(1, 1, 200, 300))
    assert resize(wide, 128).size == (128, 85)
    paint = Pictures(-1.0, 1.0, 256)
    assert paint.columns == 2
    assert paint.show(huge)[0].size == (fit_tiles(2), fit_tiles(2))
    assert paint.show(huge, fit_tiles(paint.many))[0].size == (66, 66)


def test_channels_that_are_no_colors_are_averaged() -> None:
    x = colors(1, channels=5)
    expected = (x[0].mean(0) + 1) / 2
    for channel in pixels(compared(x, x)[0].tiles[0]):
        assert near(channel, expected)


def test_of_a_volume_the_middle_slice_is_drawn() -> None:
    paint = Pictures(-1.0, 1.0, 64, of_volumes=True)
    x = torch.stack([colors(2, seed=i) for i in range(5)], 2)
    assert near(pixels(paint.show(x)[1]), (x[1, :, 2] + 1) / 2)
    errors = paint.show_error(x, torch.zeros_like(x))
    assert np.array_equal(errors[0], BOTH.show_error(x[:, :, 2], torch.zeros_like(x[:, :, 2]))[0])
    assert paint.axes == " The middle slice of each volume is drawn."
    assert BOTH.axes == ""


def test_weights_are_set_each_by_itself_and_gray_is_zero() -> None:
    w = torch.tensor([[4.0, -2.0, 0.0, 1.0], [0.01, 0.0, 0.0, 0.0], [0.0] * 4]).view(3, 1, 2, 2)
    tiles = torch.stack([pixels(tile)[0] for tile in BOTH.show_weights(w, 2)])
    expected = [[1, 0.25, 0.5, 0.625], [1, 0.5, 0.5, 0.5], [0.5] * 4]
    assert near(tiles.flatten(1), torch.tensor(expected))


# ---------------------------------------------------------------------------------------------- sheets


def dark(sheet: Image.Image) -> np.ndarray:
    """Where a sheet has ink."""
    return np.asarray(sheet.convert("L")) < 60


def test_names_stand_above_the_rows_and_captions_above_the_tiles() -> None:
    white = [Image.new("L", (64, 64), "white")] * 2
    plain = draw_sheet("Title", "Note.", [Row(white), Row(white)])
    assert plain.mode == "L"
    named = draw_sheet("Title", "Note.", [Row(white, "one", ["a", "b"]), Row(white, "two")])
    assert plain.width == named.width == WIDTH
    higher = named.height - plain.height
    top = plain.height - 2 * (64 + GAP)
    assert dark(plain)[: top - 10].any()
    assert not dark(plain)[top:].any()
    first = higher - (higher - 16) // 2  # one line more than the second
    assert dark(named)[top : top + first, : EDGE + 64].any()
    assert dark(named)[top : top + first, EDGE + 64 + GAP :].any()  # b
    assert dark(named)[top + first + 64 :, : EDGE + 64].any()
    assert not dark(named)[top + first + 64 :, EDGE + 64 + GAP :].any()


def test_long_captions_move_tiles_apart_in_all_rows() -> None:
    tiles = [Image.new("L", (20, 20), "black")] * 3
    words = ["0.0011", "0.0011", "0.0023"]
    sheet = dark(draw_sheet("", "", [Row(tiles, captions=words), Row(tiles)]))
    step = measure_text("0.0023") + GAP
    assert step > 20 + GAP
    for row in (sheet[-10], sheet[-10 - 20 - GAP]):  # through the tiles of both rows
        starts = np.flatnonzero(np.diff(row.astype(int), prepend=0) == 1)
        assert starts.tolist() == [EDGE, EDGE + step, EDGE + 2 * step]


def test_text_is_wrapped_at_words() -> None:
    said = (
        "The samples with the largest mean squared error (the numbers), of 180 validation samples."
    )
    lines = wrap_text(said, WIDTH)
    assert " ".join(lines) == said
    assert len(lines) == 2
    assert all(measure_text(line, NORMAL) <= WIDTH for line in lines)
    assert wrap_text("x" * 99, WIDTH) == ["x" * 99]
    assert wrap_text("", WIDTH) == []


@pytest.mark.parametrize(("count", "lengths"), [(8, [4, 4]), (5, [5]), (11, [4, 4, 3]), (1, [1])])
def test_rows_are_split_evenly(count: int, lengths: list[int]) -> None:
    tiles = [Image.new("L", (1, 1), i) for i in range(count)]
    names = [str(i) for i in range(count)]
    rows = split_rows([Row(tiles, "one", names), Row(tiles, "two")], 5)
    assert [row.name for row in rows] == ["one", "two"] * len(lengths)
    assert [len(row.tiles) for row in rows] == [n for n in lengths for _ in range(2)]
    assert [tile for row in rows[::2] for tile in row.tiles] == tiles
    assert [caption for row in rows[::2] for caption in row.captions] == names
    assert not any(row.captions for row in rows[1::2])


@pytest.mark.parametrize("columns", range(1, 12))
def test_so_many_tiles_fit(columns: int) -> None:
    width = fit_tiles(columns)
    assert count_columns(width) == columns
    assert columns * (width + GAP) - GAP + 2 * EDGE <= WIDTH


def test_a_sprite_has_no_seams() -> None:
    tiles = [Image.new("L", (3, 2), 30 * i) for i in range(5)]
    whole = join_tiles(tiles)
    assert whole.size == (9, 6)
    values = np.asarray(whole)
    assert values[::2, ::3].flatten()[:5].tolist() == [0, 30, 60, 90, 120]
    assert (values[:2, :3] == 0).all()
    assert (values[2:4, 3:6] == 120).all()


# --------------------------------------------------------------------------------------------- curves


@pytest.mark.parametrize("shape", [(12,), (1, 1, 12), (2, 12, 1)])
def test_vectors_and_images_of_one_line_are_curves(shape: tuple[int, ...]) -> None:
    x = (
        torch.linspace(0, 1, 12)
        .expand(3, shape[0] if len(shape) == 3 else 1, 12)
        .reshape(3, *shape)
    )
    width = fit_tiles(LINES.columns)
    high = 2 * (width // 4) if shape[0] == 2 else width // 2  # of both channels
    for tiles in (LINES.show(x), LINES.show_restored(x, x), LINES.show_error(x, x)):
        assert {tile.size for tile in tiles} == {(width, high + BELOW)}
        assert len(tiles) == 3
    assert {tile.size for tile in LINES.show(x, 28)} == {(28, 28)}
    assert {tile.size for tile in LINES.show_weights(x, 64)} == {(64, 64)}


def inside(tile: Image.Image) -> np.ndarray:
    """Where a tile with axes has dark pixels, within its frame."""
    gray = np.asarray(tile.convert("L"))
    return gray[1 : -BELOW - 1, LEFT + 1 : -1] < 150


def test_a_curve_goes_through_its_values_without_gaps() -> None:
    (tile,) = LINES.show(torch.tensor([[0.0, 1.0, 0.5, 0.5]]))
    ink = inside(tile)
    rows, columns = ink.shape
    assert ink.any(0)[3:-3].all()  # from left to right
    assert ink.any(1)[3:-3].all()  # and from the lowest value to the highest
    for column, value in ((0.05, 0.15), (1 / 3, 1.0), (0.85, 0.5)):
        middle = np.flatnonzero(ink[:, round(column * (columns - 1))]).mean()
        assert middle == pytest.approx((1 - value) * (rows - 1), abs=4)


def test_a_long_curve_keeps_its_extremes() -> None:
    values = torch.zeros(1, 10_000)
    values[0, 4170] = 1.0
    (tile,) = LINES.show(values)
    ink = inside(tile)
    assert np.flatnonzero(ink[4]).mean() / ink.shape[1] == pytest.approx(0.417, abs=0.02)


def test_each_channel_has_axes_of_its_own() -> None:
    x = torch.stack([torch.zeros(50), torch.ones(50)])[None]
    for samples, axes in ((x[:, :, None], ()), (x.flatten(1), (2, 50)), (x.mT.flatten(1), (50, 2))):
        paint = Curves(0.0, 1.0, [(0, 1), (5, 7)], "value", ("a", "b"), axes)
        assert paint.axes.endswith(" Channels from the top: a, b.")
        (tile,) = paint.show(samples)
        middle = np.flatnonzero(inside(tile)[:, 60])
        height = tile.width // 4
        assert (abs(middle - height) < 6).all()  # zeros at the bottom of the first axes
        assert middle.min() < height < middle.max()  # ones at the top of the second
    many = Curves(0.0, 1.0, [(0, 1)] * 12, "value", [str(n) for n in range(12)], (12, 50))
    (tile,) = many.show(torch.zeros(1, 600))
    assert tile.height == 8 * (tile.width // 4) + BELOW
    assert "The first 8 of 12 channels from the top: 0, 1, 2, 3, 4, 5, 6, 7." in many.axes


def test_a_reconstruction_is_drawn_over_what_it_is_to_be() -> None:
    (tile,) = LINES.show_restored(torch.zeros(1, 400), torch.ones(1, 400))
    colors = {tuple(c) for c in np.asarray(tile).reshape(-1, 3)}
    assert {(213, 94, 0), (154, 154, 154)} <= colors
    at = np.asarray(tile)[:, 100]
    orange = np.flatnonzero((at == (213, 94, 0)).all(1)).mean()
    gray = np.flatnonzero((at == (154, 154, 154)).all(1)).mean()
    assert orange < 5 < 60 < gray  # ones are above zeros


def test_errors_of_curves_are_shares_of_the_range() -> None:
    x = torch.zeros(1, 400)
    for error, place in ((0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (0.9, 0.0)):
        (tile,) = LINES.show_error(x, x + error)
        ink = inside(tile)
        assert np.flatnonzero(ink[:, 60]).mean() == pytest.approx(place * (len(ink) - 1), abs=2)
