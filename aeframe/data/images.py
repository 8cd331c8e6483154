"""Image files as arrays of bytes, all brought to one size."""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from aeframe.errors import Problem, reason

AHEAD = 2**28  # bytes of images that wait for their turn, or one image
DECODER = 2  # counts up whenever the same file gives other pixels

ENDINGS = frozenset(
    f".{e}"
    for e in "png jpg jpeg jpe jfif bmp gif webp tif tiff ppm pgm pbm pnm tga avif jp2".split()  # noqa: SIM905
)
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What the files may hold, whatever their endings. Pillow knows more: for some it starts programs."""

Fit = Literal["crop", "resize"]
Color = Literal["rgb", "gray"]


@dataclass(frozen=True)
class ImageReader:
    """Reads image files, uint8 [C, height, width].

    size: (height, width), or None for that of each image. fit, color: see ImageFolder.
    """

    size: tuple[int, int] | None
    fit: Fit
    color: Color

    def read_all(self, files: Iterable[Path]) -> Iterator[np.ndarray | Problem]:
        """The images in the order of the files, several decoded at once; what is wrong with one in its
        place. Wanted within `strict_images`.
        """
        workers = os.cpu_count() or 1
        # threads: Pillow decodes without the interpreter's lock
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[tuple[int, Future[np.ndarray | Problem]]] = deque()
            for file in files:
                size = self.bytes_of(file)
                while ahead and (
                    len(ahead) > 2 * workers or size + sum(n for n, _ in ahead) > AHEAD
                ):
                    yield ahead.popleft()[1].result()
                ahead.append((size, pool.submit(self.try_read, file)))
            while ahead:
                yield ahead.popleft()[1].result()

    def bytes_of(self, file: Path) -> int:
        """About what an image takes in memory, without decoding it; nothing of one that cannot be read, and
        of images of one size, which are small.
        """
        if self.size is not None:
            return 0
        try:
            with Image.open(file) as opened:
                return math.prod(opened.size) * (1 if self.color == "gray" else 3)
        except Exception:  # try_read says what is wrong
            return 0

    def try_read(self, file: Path) -> np.ndarray | Problem:
        """One image, or what is wrong with it."""
        try:
            return self._read(file)
        except UnidentifiedImageError:
            return Problem(str(file), "cannot be read as an image (its content is none)")
        except Exception as error:  # broken files raise nearly anything in Pillow
            return Problem(str(file), f"cannot be read as an image ({reason(error)})")

    def _read(self, file: Path) -> np.ndarray:
        return self.made_of(_opened(file), file)

    def made_of(self, image: Image.Image, file: Path) -> np.ndarray:
        """What is read of an image of 8 bits, gray or RGB."""
        if self.size is not None:
            target = self.size[::-1]  # Pillow's order
            if self.fit == "crop":
                image = ImageOps.fit(image, target, Image.Resampling.BICUBIC)
            elif image.size != target:
                image = image.resize(target, Image.Resampling.BICUBIC)
        pixels = np.array(image.convert("L" if self.color == "gray" else "RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        # of a .tga nothing but its ending says what it is
        if opened.format not in (*FORMATS, file.suffix[1:].upper()):
            raise ValueError(f"it holds {opened.format}")
        return _eight_bits(ImageOps.exif_transpose(opened))


@contextmanager
def strict_images() -> Iterator[None]:
    """While images are read: oddities in metadata are no one's business, and bombs are errors.

    Around all threads, which share the filters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deeper images scaled to bytes rather than clipped; transparent ones laid over white."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_scaled(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _scaled(image: Image.Image) -> np.ndarray:
    """The bytes of a gray image of integers or floats."""
    values = np.array(image, np.float32)
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise ValueError("it holds NaN or infinity")
    if image.mode.startswith("F"):
        return (np.clip(values / max(1.0, high), 0, 1) * 255).round().astype(np.uint8)
    if low < 0 or high > 65535:
        raise ValueError(f"it holds values of {low:.0f} to {high:.0f}, and 16 bits are 0 to 65535")
    if (clear := image.info.get("transparency")) is not None:
        values[values == clear] = 65535
    return (values / 257).round().astype(np.uint8)
