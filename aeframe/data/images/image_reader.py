"""Image files as arrays of bytes of one size."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from aeframe.core.errors import Problem, describe_error
from aeframe.data.images.brightness import Levels, convert_to_eight_bits

AHEAD = 2**28  # bytes of decoded images that wait, or one image
DECODER = 3  # increased whenever the same file gives other pixels

ENDINGS = frozenset(
    f".{e}"
    for e in "png jpg jpeg jpe jfif bmp gif webp tif tiff ppm pgm pbm pnm tga avif jp2".split()  # noqa: SIM905
)
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Allowed formats; the ending of the file does not matter. Pillow has more, and starts programs for some."""

Fit = Literal["crop", "resize"]
Color = Literal["rgb", "gray"]


@dataclass(frozen=True)
class Noticed:
    """Files that were read only in part: those with several pages, and those with clipped values."""

    pages: set[Path] = field(default_factory=set)
    cut: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class ImageReader:
    """Reader of image files, uint8 [C, height, width].

    size: (height, width), or None for the size of each image. fit, color: see ImageFolder. levels: the values
    of black and white. larger: the override that allows images with more pixels, without its number.
    """

    size: tuple[int, int] | None
    fit: Fit
    color: Color
    levels: Levels = field(default_factory=Levels)
    larger: str = "dataset.max_megapixels="
    noticed: Noticed = field(default_factory=Noticed)

    def read_all(self, files: Iterable[Path]) -> Iterator[np.ndarray | Problem]:
        """Read images in parallel, in the order of the files; an unreadable one gives a Problem.

        To be called within `read_strictly`.
        """
        workers = os.cpu_count() or 1
        # threads are enough: Pillow decodes without the GIL
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[tuple[int, Future[np.ndarray | Problem]]] = deque()
            for file in files:
                size = self.estimate_bytes(file)
                while ahead and (
                    len(ahead) > 2 * workers or size + sum(n for n, _ in ahead) > AHEAD
                ):
                    yield ahead.popleft()[1].result()
                ahead.append((size, pool.submit(self.try_read, file)))
            while ahead:
                yield ahead.popleft()[1].result()

    def estimate_bytes(self, file: Path) -> int:
        """Estimate the bytes of an image without decoding it; 0 for unreadable files and for a fixed size."""
        if self.size is not None:
            return 0
        try:
            with Image.open(file) as opened:
                return math.prod(opened.size) * (1 if self.color == "gray" else 3)
        except Exception:  # try_read reports the error
            return 0

    def try_read(self, file: Path) -> np.ndarray | Problem:
        """Read one image, or return its Problem."""
        try:
            return self._read(file)
        except UnidentifiedImageError:
            return Problem(str(file), "cannot be read as an image (not a known image format)")
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            return Problem(
                str(file), f"cannot be read as an image ({self._describe_too_large(error)})"
            )
        except Exception as error:  # broken files raise nearly anything in Pillow
            return Problem(str(file), f"cannot be read as an image ({describe_error(error)})")

    def _read(self, file: Path) -> np.ndarray:
        return self.convert(self._open(file), file)

    def _open(self, file: Path) -> Image.Image:
        with Image.open(file) as opened:
            # only its ending identifies a .tga
            if opened.format not in (*FORMATS, file.suffix[1:].upper()):
                raise ValueError(f"its format is {opened.format}")
            if opened.format == "TIFF" and getattr(opened, "is_animated", False):
                self.noticed.pages.add(file)  # not counted, which would read each page
            upright = ImageOps.exif_transpose(opened)
            image, is_cut = convert_to_eight_bits(upright, self.levels, opened.format)
        if is_cut:
            self.noticed.cut.add(file)
        return image

    def _describe_too_large(self, error: Exception) -> str:
        """Describe an image with too many pixels; Pillow's text has their number, then the limit."""
        pixels = next(map(int, re.findall(r"\d+", str(error))), 0)
        needed = f"{self.larger}{math.ceil(pixels / 1e6)}"
        return f"it has {pixels / 1e6:.4g} megapixels; to allow this, write {needed}"

    def convert(self, image: Image.Image, file: Path) -> np.ndarray:
        """Convert an 8-bit image, gray or RGB, to the sample or samples of it."""
        if self.size is not None:
            target = self.size[::-1]  # Pillow's order
            if self.fit == "crop":
                image = ImageOps.fit(image, target, Image.Resampling.BICUBIC)
            elif image.size != target:
                image = image.resize(target, Image.Resampling.BICUBIC)
        pixels = np.array(image.convert("L" if self.color == "gray" else "RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def read_strictly(max_megapixels: float | None = None) -> Iterator[None]:
    """Ignore odd metadata while images are read, and make images above the limit errors.

    max_megapixels: None for Pillow's limit. Use it around all threads, which share warning filters and limit.
    """
    before = Image.MAX_IMAGE_PIXELS
    if max_megapixels is not None:
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
