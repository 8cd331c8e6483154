"""Painting of samples as tiles, and of tiles as one labelled picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SIDE = 56  # pixels: the least length of a tile's longer side, and the height of curves
SMALL = 28  # SIDE where there are many tiles
GAP = 2  # pixels between tiles
GREY = 0.5  # brightness of the gaps
MARGIN = 90  # pixels for the names of the rows
LINE = 13  # pixels for a line of text
SCALE = 0.5  # error drawn white, as a share of the data's range


class Painter(ABC):
    """Base class of painters, which draw normalised samples as tiles [n, 1 or 3, h, w] in [0, 1].

    low, high: the values drawn black and white, of all channels or of each, [C, 1, 1]; values
    beyond them are clipped.
    """

    def __init__(self, low: float | Tensor, high: float | Tensor) -> None:
        self.low, self.high = low, high

    def scaled(self, x: Tensor) -> Tensor:
        """Scale values to [0, 1], as float32 on the CPU."""
        return ((x.detach().float().cpu() - self.low) / (self.high - self.low)).clamp(0, 1)

    def error(self, x: Tensor, restored: Tensor, side: int = SIDE) -> Tensor:
        """Draw the absolute error as a share of the data's range; `SCALE` is white."""
        off = (restored - x).detach().abs().float().cpu() / (self.high - self.low) / SCALE
        return self.heat(off.clamp(0, 1), side)

    def weights(self, w: Tensor, side: int = SMALL) -> Tensor:
        """Draw weights that belong to the elements of a sample, each scaled by itself: grey is 0."""
        w = w.detach().float().cpu()
        largest = w.abs().flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (w.ndim - 1))
        return self.unit(w / largest / 2 + 0.5, side)

    def show(self, x: Tensor, side: int = SIDE) -> Tensor:
        """Draw samples [n, *shape]."""
        return self.unit(self.scaled(x), side)

    @abstractmethod
    def unit(self, values: Tensor, side: int) -> Tensor:
        """Draw values in [0, 1] as tiles."""

    @abstractmethod
    def heat(self, values: Tensor, side: int) -> Tensor:
        """Draw values in [0, 1] as tiles in the colours of `hot`."""

    @abstractmethod
    def restored(self, x: Tensor, restored: Tensor, side: int = SIDE) -> Tensor:
        """Draw the reconstruction of x."""


class Pictures(Painter):
    """Painter of images [n, C, h, w]. Numbers of channels other than 1 and 3 are averaged to grey."""

    def unit(self, values: Tensor, side: int) -> Tensor:
        return _sized(values if values.shape[1] in (1, 3) else values.mean(1, keepdim=True), side)

    def heat(self, values: Tensor, side: int) -> Tensor:
        return hot(_sized(values.mean(1, keepdim=True), side))

    def restored(self, x: Tensor, restored: Tensor, side: int = SIDE) -> Tensor:
        return self.show(restored, side)


class Curves(Painter):
    """Painter of vectors: a curve over the elements, with the reconstruction drawn over its target."""

    def unit(self, values: Tensor, side: int) -> Tensor:
        return _curve(values, side)[:, None].float()

    def heat(self, values: Tensor, side: int) -> Tensor:
        area = _envelope(values, side)[0]
        below = torch.arange(side, 0, -1)[:, None] <= (area * side)[:, None]
        return hot(area[:, None])[:, :, None] * below[:, None]

    def restored(self, x: Tensor, restored: Tensor, side: int = SIDE) -> Tensor:
        wanted, found = (_curve(self.scaled(one), side)[:, None] for one in (x, restored))
        orange = torch.tensor([1.0, 0.6, 0.1])[:, None, None]
        return torch.where(found, orange, wanted.expand(-1, 3, -1, -1) * 0.6)


def painter(shape: tuple[int, ...], low: float | Tensor, high: float | Tensor) -> Painter:
    """Choose the painter for samples of this shape. An image of one line is drawn as a curve."""
    return (Pictures if len(shape) == 3 and min(shape[1:]) > 1 else Curves)(low, high)


def hot(values: Tensor) -> Tensor:
    """Colour values [n, 1, ...] from 0 to 1 as black, red, yellow, white; returns [n, 3, ...]."""
    return torch.cat([3 * values, 3 * values - 1, 3 * values - 2], 1).clamp(0, 1)


def _sized(images: Tensor, side: int) -> Tensor:
    """Enlarge small images by whole factors, and shrink images larger than about two sides."""
    longer, most = max(images.shape[-2:]), 16 * side // 7
    if longer > most:
        size = [max(1, round(n * most / longer)) for n in images.shape[-2:]]
        return F.interpolate(images, size, mode="area")
    times = max(1, side // longer)
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _envelope(values: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the highest and the lowest value in each of 2 * side columns, [n, columns]."""
    flat = values.flatten(1)
    return F.adaptive_max_pool1d(flat, 2 * side), -F.adaptive_max_pool1d(-flat, 2 * side)


def _curve(values: Tensor, side: int) -> Tensor:
    """Mark the pixels on the curve of each sample, bool [n, side, 2 * side]."""
    high, low = _envelope(values, side)
    before_high, before_low = (F.pad(v, (1, 0), mode="replicate")[:, :-1] for v in (high, low))
    high, low = torch.maximum(high, before_low), torch.minimum(low, before_high)  # without gaps
    rows = torch.arange(side)[:, None]
    top, bottom = (((1 - v) * (side - 1)).round()[:, None] for v in (high, low))
    return (top <= rows) & (rows <= bottom)


def lines(tiles: Tensor, columns: int) -> list[Tensor]:
    """Split tiles into rows of at most `columns`; the last row is filled up with grey."""
    columns = min(columns, len(tiles))
    missing = -len(tiles) % columns
    blank = tiles.new_full((missing, *tiles.shape[1:]), GREY)
    return list(torch.cat([tiles, blank]).split(columns))


def grid(rows: Sequence[Tensor], seam: float = GREY) -> Tensor:
    """Join rows of tiles of one size, with seams between and around them, [1 or 3, H, W]."""
    colours = max(row.shape[1] for row in rows)
    lines = [
        F.pad(row, (0, GAP, 0, GAP), value=seam).expand(-1, colours, -1, -1).permute(1, 2, 0, 3)
        for row in rows
    ]
    return F.pad(torch.cat([line.flatten(2) for line in lines], 1), (GAP, 0, GAP, 0), value=seam)


def sheet(
    rows: Sequence[Tensor], names: Sequence[str] = (), columns: Sequence[str] = ()
) -> Image.Image:
    """Draw rows of tiles as a picture. names: labels left of the rows. columns: labels above the
    columns.
    """
    pixels = grid(rows)
    *_, height, width = rows[0].shape
    picture = picture_of(pixels)
    left, top = MARGIN if names else 0, LINE if columns else 0
    if not left and not top:
        return picture
    grey = round(GREY * 255)
    size = (left + picture.width, top + picture.height)
    whole = Image.new(picture.mode, size, (grey,) * 3 if picture.mode == "RGB" else grey)
    whole.paste(picture, (left, top))
    for i, name in enumerate(names):
        write(whole, (4, top + GAP + i * (height + GAP)), name)
    for i, name in enumerate(columns):
        write(whole, (left + GAP + i * (width + GAP), 0), name)
    return whole


def write(picture: Image.Image, place: tuple[int, int], text: str) -> None:
    """Write small text into a picture, with its upper left corner at `place`."""
    ImageDraw.Draw(picture).multiline_text(place, text, "black", font(), spacing=1)


@cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own font."""
    return ImageFont.load_default(LINE - 2)


def picture_of(pixels: Tensor) -> Image.Image:
    """Convert pixels [1 or 3, H, W] in [0, 1] to an image."""
    array = (pixels * 255).round().byte().numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2).copy())
