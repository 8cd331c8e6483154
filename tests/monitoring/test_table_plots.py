"""Samples of a table as dots, and what a code means for its columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.monitoring.dashboard.maps import Axis, arrange_map, list_courses
from aeframe.monitoring.dashboard.paper import (
    FINE,
    GAP,
    NORMAL,
    WIDTH,
    fit_tiles,
    measure_text,
    shorten_names,
    shorten_text,
)
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet
from aeframe.monitoring.dashboard.signal_plots import Curves
from aeframe.monitoring.dashboard.table_plots import DOT, NAMES, PITCH, Table

ORANGE, GRAY = (213, 94, 0), (154, 154, 154)
LOW, HIGH = torch.tensor([0.0, 10.0, -1.0]), torch.tensor([1.0, 20.0, 1.0])
TABLE = Table(LOW, HIGH, ["age", "a name that is far too long", "x"])


def find_places(tile: Image.Image, color: tuple[int, int, int]) -> list[float]:
    """The middle of this color on each line of a table's tile, in pixels; NaN where it is not."""
    found = (np.array(tile.convert("RGB")) == color).all(2)
    lines = [found[PITCH * i : PITCH * (i + 1)].any(0) for i in range(len(found) // PITCH)]
    return [float(np.flatnonzero(line).mean()) if line.any() else np.nan for line in lines]


def test_each_column_of_a_table_is_a_dot_between_its_own_limits() -> None:
    x = torch.tensor([[0.5, 10.0, 0.5]])
    (tile,) = TABLE.show_restored(x, x)
    assert tile.width == fit_tiles(4, NAMES + GAP)
    edge = DOT + 3
    wanted = [edge + share * (tile.width - 2 * edge) - 0.5 for share in (0.5, 0.0, 0.75)]
    assert find_places(tile, ORANGE) == pytest.approx(wanted, abs=0.6)
    assert np.isnan(find_places(tile, GRAY)).all()  # below the reconstruction
    (tile,) = TABLE.show_restored(x, x + torch.tensor([0.5, 0.0, 0.0]))
    assert find_places(tile, GRAY)[0] < tile.width / 2 < find_places(tile, ORANGE)[0]


def test_a_value_beyond_the_usual_ones_is_a_triangle_at_the_end_of_the_line() -> None:
    x = torch.tensor([[0.5, 15.0, 1e6]])
    (tile,) = TABLE.show_restored(x, torch.tensor([[-9.0, 15.0, 1e6]]))
    first, second, third = find_places(tile, ORANGE)
    assert second == pytest.approx(tile.width / 2, abs=1)  # one outlier moves no other dot
    ink = (np.array(tile) == ORANGE).all(2)
    assert ink[:PITCH, :3].any()  # at the left, beyond all dots
    assert ink[2 * PITCH : 3 * PITCH, -3:].any()
    assert not ink[PITCH : 2 * PITCH, :6].any()
    assert not ink[PITCH : 2 * PITCH, -6:].any()
    assert first < second < third


def test_a_missing_value_has_no_dot() -> None:
    (tile,) = TABLE.show_restored(
        torch.tensor([[torch.nan, 11.0, 0.0]]), torch.tensor([[0.5, 19.0, 0.0]])
    )
    assert np.isnan(find_places(tile, GRAY)).tolist() == [True, False, True]
    assert find_places(tile, ORANGE)[0] == pytest.approx(tile.width / 2, abs=1)
    middles = np.array(tile.convert("L"))[PITCH // 2 :: PITCH][:3, 10:20]
    assert (middles == 255).any(1).tolist() == [True, False, False]  # its line is dashed


def test_the_legend_explains_the_mark_of_a_gap() -> None:
    assert TABLE.axes.endswith("a dashed line a gap.")


def test_the_names_of_columns_stand_left_of_the_tiles() -> None:
    legend = TABLE.legend
    assert legend is not None
    tiles = TABLE.show(torch.tensor([[0.5, 15.0, 0.0]] * 4), TABLE.fit(4))
    assert {tile.height for tile in tiles} == {legend.height}
    ink = [np.asarray(legend)[PITCH * i : PITCH * (i + 1)] < 128 for i in range(3)]
    assert all(line.any() for line in ink)
    assert shorten_text("a name that is far too long", NAMES - 4, FINE).startswith("a name that")
    assert measure_text(shorten_text("m" * 50, NAMES - 4, FINE), FINE) <= NAMES - 4
    assert shorten_text("a\nb", 50) == "a b"
    alike = ["worst concavity", "worst concave points", "age", "a name that is too long"]
    short = shorten_names(alike, 84)
    assert len(set(short)) == 4
    assert short[0].startswith("worst")
    assert short[0].endswith("vity")
    assert short[1].endswith("oints")
    assert short[2:] == ["age", shorten_text(alike[3], 84)]
    assert all(measure_text(name, NORMAL) <= 84 for name in short)
    sheet = np.asarray(draw_sheet("", "", [Row(tiles)], legend=legend).convert("L"))
    assert sheet.shape[1] == WIDTH
    assert np.array_equal(sheet[-legend.height - GAP - 4 :][: legend.height, 2 : 2 + NAMES], legend)


def test_weights_of_a_table_are_blue_and_orange_strips() -> None:
    (strip,) = TABLE.show_weights(torch.tensor([[2.0, -1.0, 0.0]]), 9)
    assert strip.size == (9, 3 * PITCH)
    colors = [strip.getpixel((4, PITCH * i + 6)) for i in range(3)]
    assert colors == [(0, 115, 178), (235, 175, 128), (255, 255, 255)]


def test_a_map_of_a_table_has_a_tile_for_each_column() -> None:
    grid = torch.stack(
        [torch.tensor([i / 3, 10 + 10 * j / 3, 9.0]) for j in (3, 0) for i in (0, 3)]
    )
    axes = Axis(4, ["-1", "1"]), Axis(7, ["-2", "2"])
    made = arrange_map(TABLE, grid, *axes, 90)
    assert [row.captions for row in made.rows] == [["age", "a name that i…", "x"]]
    corners = [
        [tile.getpixel((x, y)) for y in (5, 70) for x in (5, 70)] for tile in made.rows[0].tiles
    ]
    assert corners == [[0, 255, 0, 255], [255, 255, 0, 0], [255] * 4]
    assert "Unit 4 grows rightwards, -1 to 1, unit 7 upwards, -2 to 2." in made.note
    lines = Curves(0.0, 1.0, [(0.0, 1.0)], "value")
    plain = arrange_map(lines, torch.rand(4, 50), *axes, 160)
    assert [row.name for row in plain.rows] == ["unit 7 at 2", "unit 7 at -2"]
    assert plain.rows[0].captions == ["-1", "1"]


def test_the_effect_of_a_unit_on_a_table_is_a_line_for_each_column() -> None:
    decoded = torch.tensor([[0.0, 20.0, 0.0], [1.0, 20.0, 0.0]] + [[0.0, 10.0, 1.0]] * 2)
    (row,) = list_courses(TABLE, decoded, ["unit 3", "unit 5"], 10)
    assert row.captions == ["unit 3", "unit 5"]
    first = [[row.tiles[0].getpixel((x, PITCH * i + 6)) for x in (2, 7)] for i in range(3)]
    assert first == [[0, 255], [255, 255], [128, 128]]
