"""Brightness of image files: the values that become black and white."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from aeframe.data.normalization.value_range import Range, find_narrow
from aeframe.data.source import Raw

TIFF = (".tif", ".tiff")


class Levels(NamedTuple):
    """The values of black and white for each type of file.

    eight, sixteen: for 8 and 16 bits. other: for TIFFs of floats or of 32-bit integers, which have no usual
    range; None: 0 to 1 and 0 to 65535. clips: values outside `other` are clipped instead of refused.
    """

    eight: Range = (0.0, 255.0)
    sixteen: Range = (0.0, 65535.0)
    other: Range | None = None
    clips: bool = False

    @classmethod
    def choose(cls, given: Range | None) -> Levels:
        """Choose the levels: dataset.range for all files, or the default of each type."""
        return cls() if given is None else cls(given, given, given)

    def get_range(self, image: Image.Image, encoding: str | None) -> Range:
        """Return black and white of one image. encoding: format of its file."""
        if not is_deep(image):
            return self.eight
        if not needs_measure(image, encoding):
            return self.sixteen
        return self.other or ((0.0, 1.0) if image.mode.startswith("F") else (0.0, 65535.0))


class EightBitImage(NamedTuple):
    """An image of 8 bits, and whether values were clipped."""

    image: Image.Image
    is_cut: bool = False


def is_deep(image: Image.Image) -> bool:
    """Check whether the values of an image have more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def needs_measure(image: Image.Image, encoding: str | None) -> bool:
    """Check whether the range of the values has to be measured, since their type has none."""
    return image.mode.startswith("F") or (image.mode == "I" and encoding == "TIFF")


def convert_to_eight_bits(
    image: Image.Image, levels: Levels, encoding: str | None
) -> EightBitImage:
    """Scale values to bytes, and lay transparent images over white.

    Raises ValueError for NaN, and for values outside the given range or the range of the type.
    """
    if is_deep(image):
        return _scale(image, levels, encoding)
    if image.mode in ("1", "P"):  # bits and palettes are colors, not values
        return EightBitImage(_lay_over_white(image))
    if levels.eight != Levels().eight:
        image = _stretch(image, levels.eight)
    return EightBitImage(_lay_over_white(image))


def _lay_over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _stretch(image: Image.Image, given: Range) -> Image.Image:
    """Stretch an 8-bit image whose black and white are not 0 and 255."""
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    bands = image.split()
    colors = bands[:-1] if image.mode in ("LA", "RGBA") else bands
    values = [np.asarray(band) for band in colors]
    _require_within((float(np.min(values)), float(np.max(values))), given)
    table = [round(min(max(_compute_share(v, given), 0.0), 1.0) * 255) for v in range(256)]
    stretched = [band.point(table) for band in colors]
    return Image.merge(image.mode, [*stretched, *bands[len(colors) :]])


def _scale(image: Image.Image, levels: Levels, encoding: str | None) -> EightBitImage:
    """Scale a gray image of integers or floats to bytes."""
    values, given = _read_values(image), levels.get_range(image, encoding)
    ends = float(values.min()), float(values.max())
    is_cut = levels.clips and needs_measure(image, encoding)
    if not is_cut:
        _require_within(ends, given)
    shares = np.clip(_compute_share(values, given), 0, 1)
    if (clear := image.info.get("transparency")) is not None:
        shares[values == clear] = 1
    outside = ends[0] < given[0] or ends[1] > given[1]
    return EightBitImage(
        Image.fromarray((shares * 255).round().astype(np.uint8)), is_cut and outside
    )


def _read_values(image: Image.Image) -> np.ndarray:
    values = np.array(image, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it contains NaN or infinity")
    return values


def _compute_share(value: Any, given: Range) -> Any:
    """Compute the position of a value between black (0) and white (1)."""
    return (value - given[0]) / (given[1] - given[0])


def _require_within(ends: Range, given: Range) -> None:
    room = 1e-6 * (given[1] - given[0])  # for the rounding of floats
    if ends[0] < given[0] - room or ends[1] > given[1] + room:
        what = f"it has values from {ends[0]:g} to {ends[1]:g}"
        raise ValueError(f"{what}, outside the range from {given[0]:g} to {given[1]:g}")


def measure_range(files: Iterable[Path]) -> Range | None:
    """Measure the common range of all TIFFs of floats or of 32-bit integers; None if there are none.

    It begins at 0 or below. It is 0 to 1 if no value is larger.
    """
    with ThreadPoolExecutor() as pool:
        tiffs = [file for file in files if file.suffix.lower() in TIFF]
        ends = [pair for pair in pool.map(_measure_file, tiffs, chunksize=1) if pair is not None]
    if not ends:
        return None
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return min(0.0, low), high if high > 1 else max(1.0 if low >= 0 else 0.0, high)


def _measure_file(file: Path) -> Range | None:
    try:
        with Image.open(file, formats=["TIFF"]) as opened:
            if not needs_measure(opened, opened.format):
                return None
            values = _read_values(opened)
    except Exception:  # the decoder reports the error later
        return None
    return float(values.min()), float(values.max())


def find_narrow_range(raw: Raw, file: Path) -> tuple[Range, Range] | None:
    """Return the used and the assumed range of images that use less than an eighth of all bytes, else None.

    Both ranges are in units of the files. file: one of them.
    """
    if (used := find_narrow(raw, (0.0, 255.0))) is None:
        return None
    low, high = used
    try:
        with Image.open(file) as opened:
            step = 257 if is_deep(opened) else 1
    except Exception:
        step = 1
    most = high if step == 1 else math.floor((high - 0.5) * step)
    return (low * step, most), (0.0, 255.0 * step)
