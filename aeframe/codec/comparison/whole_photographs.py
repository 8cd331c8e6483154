"""Comparison of codecs for images of any size with standard formats, on whole photographs.

Each image is one file, in every format. A point of a curve is the mean of the bits per pixel and the mean
of the PSNR in dB over all images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from PIL import features

from aeframe.codec.aez_file import compress
from aeframe.codec.codec import Codec, to_decibels
from aeframe.codec.comparison.curves import (
    Curve,
    Images,
    Point,
    Standard,
    encode_image,
    make_flat_tables,
)
from aeframe.codec.comparison.images import Comparison, Measured, count_decoder_bytes
from aeframe.codec.packing import Packer
from aeframe.core.errors import UserError

Results = list[list[Point]]
"""One point for each image and each tried setting."""


def list_formats() -> list[Standard]:
    """List the formats that the installed Pillow can write."""
    qualities = [{"quality": q} for q in (*range(5, 50, 5), *range(50, 91, 10), 95)]
    usual, flat = (
        [{**o, "optimize": True, "progressive": True} for o in options]
        for options in (qualities, make_flat_tables())
    )
    coarse = [{"quality": q} for q in (0, 2, 5, *range(10, 100, 10))]
    found = [
        Standard("JPEG, flat tables, progressive", "JPEG", flat),
        Standard("JPEG, progressive", "JPEG", usual),
        Standard("JPEG", "JPEG", qualities),
    ]
    if features.check("webp"):
        found.append(Standard("WebP", "WEBP", [{**o, "method": 6} for o in coarse]))
    if features.check("avif"):
        found.append(Standard("AVIF", "AVIF", coarse))
    return [*found, Standard("PNG", "PNG", [{"optimize": True}])]


def compare_on_photographs(
    codecs: Sequence[tuple[str, Codec]], photographs: Iterable[Images]
) -> Comparison:
    """Compare codecs and formats on photographs, [1, C, H, W] each, read once, one at a time."""
    formats = list_formats()
    tried = [(f.format, options) for f in formats for options in f.options]
    theirs, ours, pixels = Results(), Results(), list[int]()
    payload, estimate = np.zeros(len(codecs)), np.zeros(len(codecs))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow encodes without the GIL
        for x in photographs:
            results = pool.map(lambda way, x=x: _measure_format(x[0], *way), tried)
            points = []
            for i, (_, codec) in enumerate(codecs):
                point, sizes = _measure_codec(codec, x)
                points.append(point)
                payload[i], estimate[i] = payload[i] + sizes[0], estimate[i] + sizes[1]
            ours.append(points)
            theirs.append(list(results))
            pixels.append(x[0, 0].size)
    if not pixels:
        raise UserError("--data", "contains no images")
    gaps = payload / estimate - 1
    runs = [
        Measured(run, point, float(gap), count_decoder_bytes(run), {})
        for (run, _), point, gap in zip(codecs, _average(ours), gaps, strict=True)
    ]
    means = iter(_average(theirs))
    others = [Curve(f.name, list(islice(means, len(f.options)))) for f in formats]
    runs.sort(key=lambda measured: measured.point)
    return Comparison(runs, others, len(pixels), float(np.mean(pixels)), "bpp")


def _measure_format(image: Images, kind: str, options: dict[str, Any]) -> Point:
    try:
        size, back = encode_image(image, kind, options)
    except (OSError, RuntimeError, ValueError) as error:  # each format has a maximum size
        _, height, width = image.shape
        what = f"has an image of {width} x {height} pixels, too large for {kind}"
        raise UserError("--data", what, "Leave it out.") from error
    mse = float(np.square(back.astype(np.float32) - image).mean(dtype=np.float64)) / 255**2
    return Point(8 * size / image[0].size, float(to_decibels(mse)))


def _measure_codec(codec: Codec, x: Images) -> tuple[Point, tuple[float, float]]:
    """Measure the .aez file of one image; also returns the bytes of its code, and their estimate."""
    found = compress(Packer(codec, "keep"), [x], io.BytesIO())
    point = Point(8 * found.bytes / x[0, 0].size, found.mean_psnr)
    return point, (found.payload, found.estimate)


def _average(results: Results) -> list[Point]:
    """Average over the images, for each tried setting."""
    return [Point(float(rate), float(psnr)) for rate, psnr in np.mean(results, axis=0)]
