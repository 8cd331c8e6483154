"""Rate-distortion curves of codecs and image formats on the same images.

Bytes are those of files that were really written. PSNR is that of the mean squared error over all images, on
decoded 8-bit pixels.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from aeframe.codec.codec import to_decibels
from aeframe.codec.container.format import Header, Kind, Writer
from aeframe.codec.entropy.fitting import fit
from aeframe.codec.entropy.tables import Codes, Tables
from aeframe.codec.packing import limit_coded_rows

Images = NDArray[np.uint8]
"""Images [N, C, H, W] with one or three channels."""


class Point(NamedTuple):
    """A rate, in bytes for an image or for photographs in bits per pixel, and the PSNR in dB."""

    rate: float
    psnr: float


@dataclass(frozen=True)
class Curve:
    """The rate-distortion curve of one method."""

    name: str
    points: list[Point]

    def interpolate_rate(self, psnr: float) -> float | None:
        """Interpolate the logarithm of the rate at a PSNR; None outside the curve."""
        # points beaten by another are ignored
        best = [p for p in self.points if not any(_is_better(q, p) for q in self.points)]
        best = sorted(best, key=lambda p: p.psnr)
        if not best or not best[0].psnr <= psnr <= best[-1].psnr:
            return None
        logs = np.interp(psnr, [p.psnr for p in best], [math.log(p.rate) for p in best])
        return float(np.exp(logs))


def _is_better(one: Point, other: Point) -> bool:
    return one != other and one.psnr >= other.psnr and one.rate <= other.rate


@dataclass(frozen=True)
class Standard:
    """A format of image files. options: of Pillow's save(), one set for each point.

    side: each file is a mosaic of side x side images, which share its header; 0: one mosaic of all.
    """

    name: str
    format: str
    options: list[dict[str, Any]]
    side: int = 10

    def measure_curve(self, images: Images) -> Curve:
        """Measure the curve of the format on images."""
        side = self.side or math.ceil(math.sqrt(len(images)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow encodes without the GIL
            points = list(pool.map(lambda o: self._measure_point(images, side, o), self.options))
        return Curve(self.name, points)

    def _measure_point(self, images: Images, side: int, options: dict[str, Any]) -> Point:
        size, errors = 0, 0.0
        for part in _split(images, side * side):
            taken, pixels = encode_image(make_mosaic(part, side), self.format, options)
            back = cut_mosaic(pixels, part.shape, side).astype(np.float64)
            size, errors = size + taken, errors + float(((back - part) ** 2).sum())
        mse = errors / images.size / 255**2
        return Point(size / len(images), float(to_decibels(mse)))


def encode_image(pixels: Images, kind: str, options: dict[str, Any]) -> tuple[int, Images]:
    """Encode pixels [C, H, W] to a file: its bytes, and the decoded pixels. kind: Pillow's format."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    with Image.open(stream) as opened:
        found = np.array(opened.convert("L" if len(pixels) == 1 else "RGB"))
    back = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
    return len(stream.getvalue()), back


def make_flat_tables() -> list[dict[str, Any]]:
    """Make options for JPEG that quantize all frequencies equally, which is best for squared error.

    The standard tables favor visible frequencies, and have a lower PSNR at the same bytes.
    """
    steps = (6, 9, 13, 18, 25, 35, 50, 70, 90, 110, 140, 180, 220)
    return [{"qtables": [[step] * 64] * 2} for step in steps]


def list_standards() -> list[Standard]:
    """List the formats that the installed Pillow can write."""
    qualities = [{"quality": q, "optimize": True} for q in (*range(1, 20, 2), *range(20, 96, 5))]
    flat = [{**tables, "optimize": True} for tables in make_flat_tables()]
    progressive = [{**options, "progressive": True} for options in flat]
    coarse = [{"quality": q} for q in (0, 1, 5, *range(10, 100, 10))]
    found = [
        Standard("JPEG, a file each", "JPEG", qualities, side=1),
        Standard("JPEG, 10 x 10 in a file", "JPEG", qualities),
        Standard("JPEG, flat tables, 10 x 10 in a file", "JPEG", flat),
        Standard("JPEG, its best", "JPEG", progressive, side=0),
        Standard("PNG, 10 x 10 in a file", "PNG", [{"optimize": True}]),
    ]
    if features.check("webp"):
        webp = [{**o, "method": 6} for o in coarse]
        found.append(Standard("WebP, 10 x 10 in a file", "WEBP", webp))
    if features.check("avif"):
        found.append(Standard("AVIF, 10 x 10 in a file", "AVIF", coarse))
    return found


def _split(rows: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def make_mosaic(images: Images, side: int) -> Images:
    """Make a mosaic of images, row by row, [C, rows * H, side * W]; missing images are black."""
    count, channels, height, width = images.shape
    rows = math.ceil(count / side)
    full = np.zeros((rows * side, channels, height, width), np.uint8)
    full[:count] = images
    grid = full.reshape(rows, side, channels, height, width).transpose(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * height, side * width)


def cut_mosaic(pixels: Images, shape: tuple[int, ...], side: int) -> Images:
    """Cut a mosaic into its images, [N, C, H, W] = shape."""
    count, channels, height, width = shape
    grid = pixels.reshape(channels, -1, height, side, width).transpose(1, 3, 0, 2, 4)
    return grid.reshape(-1, channels, height, width)[:count]


def measure_pca(train: Images, held_out: Images, images: Images) -> Curve:
    """Measure the curve of PCA with the entropy coder of an autoencoder.

    Rounded coefficients are written to an .aez file. The components and the tables count as decoder.
    """
    from sklearn.decomposition import PCA

    flat = [x.reshape(len(x), -1).astype(np.float32) for x in (train, held_out, images)]
    size = min(256, *flat[0].shape)
    pca = PCA(size, svd_solver="covariance_eigh" if flat[0].shape[1] <= 2000 else "randomized")
    pca.set_params(random_state=0).fit(flat[0])
    coefficients = [pca.transform(x) for x in flat]
    points = []
    for step in (75, 120, 180, 270, 400):
        codes = [np.rint(c / step).astype(np.int32) for c in coefficients]
        used = np.flatnonzero(codes[0].any(0))
        if not len(used):
            break
        tables = fit(codes[0][:, used], codes[1][:, used])
        kept = np.zeros_like(coefficients[2])
        kept[:, used] = codes[2][:, used] * np.float32(step)
        back = pca.inverse_transform(kept).round().clip(0, 255)
        mse = float(((back - flat[2]) ** 2).mean(dtype=np.float64)) / 255**2
        size = _measure_file(images.shape[1:], tables, codes[2][:, used])
        points.append(Point(size / len(images), float(to_decibels(mse))))
    return Curve("PCA, the same coder", points)


def _measure_file(shape: tuple[int, ...], tables: Tables, codes: Codes) -> int:
    """Measure the .aez file of codes, [n, m], of images of this shape, in bytes."""
    stream = io.BytesIO()
    writer = Writer(stream, Header(bytes(32), "uint8", shape))
    for part in _split(codes, limit_coded_rows(tables, shape)):
        writer.write_section(Kind.CODED, len(part), tables.encode(part))
    writer.write_end()
    return stream.tell()
