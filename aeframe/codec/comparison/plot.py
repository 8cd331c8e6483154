"""Plot of rate-distortion curves, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from aeframe.codec.comparison.curves import Curve, Point

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#17becf")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 620, 70, 560, 20
TICKS = (1, 2, 5)
"""Ticks on the axis of rates, times powers of ten."""


def draw_curves(
    curves: Sequence[Curve], low: float, high: float, unit: str = "bytes for an image"
) -> Image.Image:
    """Draw curves between two PSNR in dB, over a logarithmic rate; the first is thickest. unit: of rates."""
    kept = [(c.name, sorted(p for p in c.points if low <= p.psnr <= high)) for c in curves]
    kept = [(name, points) for name, points in kept if points]
    sizes = [math.log10(p.rate) for _, points in kept for p in points]
    first, last = min(sizes) - 0.05, max(sizes) + 0.05
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)

    def at(point: Point) -> tuple[float, float]:
        x = LEFT + (math.log10(point.rate) - first) / (last - first) * (WIDTH - LEFT - 20)
        return x, BOTTOM - (point.psnr - low) / (high - low) * (BOTTOM - TOP)

    for level in range(math.ceil(low), math.floor(high) + 1):
        y = at(Point(10**first, level))[1]
        draw.line([(LEFT, y), (WIDTH - 20, y)], "#dddddd")
        draw.text((LEFT - 8, y), f"{level}", "black", font, anchor="rm")
    for size in (t * 10**e for e in range(math.floor(first), math.ceil(last)) for t in TICKS):
        if first <= math.log10(size) <= last:
            x = at(Point(size, low))[0]
            draw.line([(x, TOP), (x, BOTTOM)], "#dddddd")
            draw.text((x, BOTTOM + 6), f"{size:g}", "black", font, anchor="mt")
    draw.text((WIDTH / 2, HEIGHT - 10), unit, "black", font, anchor="mb")
    draw.text((8, TOP), "dB", "black", font, anchor="lt")
    for i, (name, points) in enumerate(kept):
        color, places = COLORS[i % len(COLORS)], [at(p) for p in points]
        draw.line(places, color, 2 if i else 4)
        for x, y in places:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], color)
        draw.text((LEFT + 16, TOP + 16 + 20 * i), name, color, font, anchor="lm")
    return picture
