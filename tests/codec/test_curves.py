"""Rate and distortion: bytes that were written, at the same quality."""

from __future__ import annotations

import json
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from aeframe.codec.comparison.curves import (
    Curve,
    Point,
    Standard,
    cut_mosaic,
    list_standards,
    make_mosaic,
    measure_pca,
)
from aeframe.codec.comparison.images import Comparison, Measured
from aeframe.codec.comparison.plot import draw_curves

DIGITS = (load_digits().images * 15).astype(np.uint8)[:, None]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 4, 7, 9])
def test_a_mosaic_comes_apart_again(channels: int, count: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (count, channels, 4, 5)).astype(np.uint8)
    pixels = make_mosaic(images, 3)
    assert pixels.shape == (channels, -(-count // 3) * 4, 15)
    assert np.array_equal(pixels[:, :4, :5], images[0])
    assert np.array_equal(cut_mosaic(pixels, images.shape, 3), images)


def test_bytes_are_those_of_files_and_psnr_that_of_their_pixels() -> None:
    (point,) = Standard("j", "JPEG", [{"quality": 50}], side=0).measure_curve(DIGITS[:4]).points
    grid = np.block([[DIGITS[0, 0], DIGITS[1, 0]], [DIGITS[2, 0], DIGITS[3, 0]]])
    stream = BytesIO()
    Image.fromarray(grid).save(stream, "JPEG", quality=50)
    mse = ((np.array(Image.open(stream), np.float64) - grid) ** 2).mean()
    assert point.rate == len(stream.getvalue()) / 4
    assert point.psnr == pytest.approx(10 * np.log10(255**2 / mse))


def test_lossless_is_a_hundred_decibels() -> None:
    png = next(s for s in list_standards() if s.format == "PNG")
    assert png.measure_curve(DIGITS[:30]).points[0].psnr == 100


def test_between_two_points_bytes_are_interpolated_in_logarithms() -> None:
    curve = Curve("c", [Point(10, 20), Point(40, 22), Point(90, 21)])  # the last is beaten
    assert curve.interpolate_rate(20) == pytest.approx(10)
    assert curve.interpolate_rate(21) == pytest.approx(20)
    assert curve.interpolate_rate(22) == pytest.approx(40)
    assert curve.interpolate_rate(19.9) is None
    assert curve.interpolate_rate(22.1) is None


def test_principal_components_are_coded_with_the_same_coder() -> None:
    curve = measure_pca(DIGITS[:1200], DIGITS[1200:1400], DIGITS[1400:])
    points = sorted(curve.points)
    assert len(points) >= 4
    assert all(a.psnr < b.psnr for a, b in pairwise(points))
    assert points[0].rate < 8 < points[-1].rate < 64
    # a whole file, as ours is: header, two sections' heads and the count are there for one image, too
    alone = measure_pca(DIGITS[:1200], DIGITS[1200:1400], DIGITS[1400:1401]).points
    assert all(p.rate > (5 + 34 + 12 + 4) + 2 * (9 + 4) + 8 for p in alone)


def test_jpeg_is_tuned_for_the_squared_error_that_it_is_compared_by() -> None:
    known = {s.name: s for s in list_standards()}
    names = ("JPEG, flat tables, 10 x 10 in a file", "JPEG, 10 x 10 in a file")
    tuned, plain = (known[name].measure_curve(DIGITS[:200]) for name in names)
    for psnr in (20, 25, 30):
        better, worse = tuned.interpolate_rate(psnr), plain.interpolate_rate(psnr)
        assert better is not None
        assert worse is not None
        assert better < 0.98 * worse


def test_a_comparison_says_how_many_images_pay_for_the_decoder() -> None:
    runs = [
        Measured("a", Point(10, 20.2), 0.01, 1000, {"negatives": 3.0}),
        Measured("b", Point(20, 21.6), 0.01, 1001, {"negatives": 3.0}),
    ]
    best = Curve("JPEG, its best", [Point(30, 20), Point(60, 22)])
    found = Comparison(runs, [best], 9, 64)
    assert found.levels == [20.5, 21.0, 21.5]
    assert [row["psnr"] for row in found.list_rows()] == found.levels
    theirs = best.interpolate_rate(20.2)
    assert theirs is not None
    assert found.count_break_even(runs[0]) == int(np.ceil(1000 / (theirs - 10)))
    assert Comparison(runs[:1], [], 9, 64).levels == [20.2]
    assert Comparison(runs, [], 9, 64).count_break_even(runs[0]) is None
    told = json.loads(json.dumps(found.as_dict()))
    assert told["curves"][0] == {
        "name": "autoencoder",
        "images": 9,
        "results": {"bytes": [10, 20], "bpp": [1.25, 2.5], "psnr": [20.2, 21.6]},
    }


def test_a_plot_shows_the_points_of_each_curve_in_its_color() -> None:
    curves = [
        Curve(name, [Point(10 * k, 20), Point(40 * k, 22)]) for k, name in ((1, "a"), (2, "b"))
    ]
    colors = {color for _, color in draw_curves(curves, 19, 23).getcolors(2**20) or []}
    assert {(0xD6, 0x27, 0x28), (0x1F, 0x77, 0xB4)} <= colors
