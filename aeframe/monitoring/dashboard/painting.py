"""Painting of samples as tiles: small pictures of one size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aeframe.monitoring.dashboard.paper import GAP, count_columns, fit_tiles

SIDE = 64  # pixels: the longer side of enlarged images at least
SCALE = 0.5  # error drawn at full strength, as a share of the data's range
Tiles = list[Image.Image]


class Painter(ABC):
    """Base class of painters, which draw normalized samples as tiles.

    low, high: the values at the ends of the scale, of all channels or of each, [C, 1, 1]; values
    beyond them are clipped. columns: tiles beside each other where there is room, `many` where there
    is little, and `filters` of weights. wide: pixels of a tile where the width is free. tall: rows of
    tiles at most where there may be many. error: the meaning of a tile with errors, which are else not
    drawn. zero: the place of 0 in tiles of weights. axes: a sentence about them, if tiles have some. over:
    a sentence about reconstructions, if they are drawn over inputs. legend: stands left of the tiles.
    """

    columns: int
    many: int
    wide: int
    tall = 10
    error: str
    zero: str
    axes = over = ""
    legend: Image.Image | None = None

    def __init__(self, low: float | Tensor, high: float | Tensor) -> None:
        self.low, self.high = low, high

    @property
    def filters(self) -> int:
        """Return the number of filters beside each other."""
        return self.many

    def fit(self, columns: int) -> int:
        """Return the width of tiles if this many are in a row, right of the legend."""
        return fit_tiles(columns, 0 if self.legend is None else self.legend.width + GAP)

    def scale(self, x: Tensor) -> Tensor:
        """Scale values to [0, 1], as float32 on the CPU."""
        return ((x.detach().float().cpu() - self.low) / (self.high - self.low)).clamp(0, 1)

    def scale_error(self, x: Tensor, restored: Tensor) -> Tensor:
        """Return the absolute error as a share of the data's range; 1 is `SCALE` or more."""
        off = (restored - x).detach().abs().float().cpu() / (self.high - self.low) / SCALE
        return off.clamp(0, 1)

    def show(self, x: Tensor, width: int | None = None) -> Tiles:
        """Draw samples [n, *shape]. width: of a tile at most, in pixels; None: for `columns`."""
        return self.draw(self.scale(x), width or self.fit(self.columns))

    def show_weights(self, w: Tensor, width: int) -> Tiles:
        """Draw weights of the elements of a sample, each scaled by itself: 0 is in the middle."""
        return self.draw(scale_weights(w), width)

    @abstractmethod
    def draw(self, values: Tensor, width: int) -> Tiles:
        """Draw values in [0, 1] on tiles of at most this width."""

    @abstractmethod
    def show_restored(self, x: Tensor, restored: Tensor) -> Tiles:
        """Draw the reconstruction of x."""

    @abstractmethod
    def show_error(self, x: Tensor, restored: Tensor) -> Tiles:
        """Draw the absolute error."""


class Pictures(Painter):
    """Painter of images [n, C, h, w], and of the middle slices of volumes [n, C, d, h, w].

    Numbers of channels other than 1 and 3 are averaged to gray.
    """

    zero = "gray"
    error = f"error: black is 0, white {SCALE:.0%} of the data's range or more"

    def __init__(
        self, low: float | Tensor, high: float | Tensor, longer: int, *, of_volumes: bool = False
    ) -> None:
        """longer: the longer side of the images."""
        super().__init__(low, high)
        if of_volumes:
            self.axes = " The middle slice of each volume is drawn."
        self.wide = longer * math.ceil(SIDE / longer)
        self.columns = max(2, count_columns(self.wide))
        self.many = self.columns if longer <= SIDE else count_columns(SIDE)

    def draw(self, values: Tensor, width: int) -> Tiles:
        if values.ndim == 5:
            values = values[:, :, values.shape[2] // 2]
        shown = values if values.shape[1] in (1, 3) else values.mean(1, keepdim=True)
        return [resize(image, width) for image in convert_to_images(shown)]

    def show_restored(self, x: Tensor, restored: Tensor) -> Tiles:
        return self.show(restored)

    def show_error(self, x: Tensor, restored: Tensor) -> Tiles:
        off = self.scale_error(x, restored).mean(1, keepdim=True)
        return self.draw(color_heat(off), self.fit(self.columns))


def scale_weights(w: Tensor) -> Tensor:
    """Scale the weights [n, ...] of each of n units to [0, 1]: 0 becomes a half."""
    w = w.detach().float().cpu()
    largest = w.abs().flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (w.ndim - 1))
    return w / largest / 2 + 0.5


def color_heat(values: Tensor) -> Tensor:
    """Color values [n, 1, ...] from 0 to 1 as black, red, yellow, white; returns [n, 3, ...]."""
    return torch.cat([3 * values, 3 * values - 1, 3 * values - 2], 1).clamp(0, 1)


def convert_to_images(pixels: Tensor) -> Tiles:
    """Convert pixels [n, 1 or 3, h, w] in [0, 1] to images."""
    arrays = (pixels * 255).round().byte().numpy()
    return [Image.fromarray(a[0] if len(a) == 1 else np.moveaxis(a, 0, 2).copy()) for a in arrays]


def resize(image: Image.Image, side: int) -> Image.Image:
    """Enlarge a small image by a whole factor, or shrink a large one, to at most `side` pixels."""
    longer = max(image.size)
    if longer <= side:
        times = side // longer
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    width, height = (max(1, round(n * side / longer)) for n in image.size)
    return image.resize((width, height), Image.Resampling.BOX)
