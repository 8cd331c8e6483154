"""One image file, as it is seen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

Color = Literal["rgb", "gray"]

FORMATS = ("PNG", "JPEG", "MPO", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What the files may hold, whatever their endings. Pillow knows more: for some it starts programs."""


def upright(file: Path) -> Image.Image:
    """The image of 8 bits, gray or RGB. Broken files raise nearly anything in Pillow."""
    with Image.open(file) as opened:
        # of a .tga nothing but its ending says what it is
        if opened.format not in (*FORMATS, file.suffix[1:].upper()):
            raise ValueError(f"it holds {opened.format}")
        return _eight_bits(ImageOps.exif_transpose(opened))


def pixels_of(image: Image.Image, color: Color) -> np.ndarray:
    """An image's bytes, uint8 [C, H, W]."""
    pixels = np.array(image.convert("L" if color == "gray" else "RGB"))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


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
