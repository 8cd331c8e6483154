"""Images of any size through a network whose code is a map, piece by piece.

A piece goes through it with as much around it as its result depends on: no seam is left, and only one piece's
activations are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.networks import MapDecoder

TILE = 64  # positions of the code, in height and width


class Span(NamedTuple):
    """Positions [start, stop) of a line, and [first, end) with what is around them."""

    first: int
    start: int
    stop: int
    end: int

    def whole(self, scale: int = 1) -> slice:
        """With what is around them. scale: pixels for a position."""
        return slice(self.first * scale, self.end * scale)

    def own(self, scale: int = 1) -> slice:
        """The positions themselves."""
        return slice(self.start * scale, self.stop * scale)

    def inner(self, scale: int = 1) -> slice:
        """The positions themselves, counted from the first of the whole."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def split_line(positions: int, reach: int) -> Iterator[Span]:
    """A line of so many positions in pieces, each with `reach` more around it."""
    for start in range(0, positions, TILE):
        stop = min(start + TILE, positions)
        yield Span(max(0, start - reach), start, stop, min(stop + reach, positions))


def split_map(size: tuple[int, int], reach: int) -> Iterator[tuple[Span, Span]]:
    """A map of this size in pieces: rows and columns of each."""
    for rows in split_line(size[0], reach):
        for columns in split_line(size[1], reach):
            yield rows, columns


def get_decoder(net: ConstrainedAutoencoder) -> MapDecoder:
    """The decoder of a network that codes images of any size."""
    decoder = net.model.decoder
    assert isinstance(decoder, MapDecoder)
    return decoder


@torch.inference_mode()
def encode_image(net: ConstrainedAutoencoder, image: np.ndarray) -> np.ndarray:
    """The code of one image, float32 [C, h, w]. image: as the training data was stored, [colors, H, W]."""
    decoder = get_decoder(net)
    size, device = decoder.positions(image.shape[1], image.shape[2]), net.normalization.scale.device
    code = np.empty((decoder.channels, *size), np.float32)
    for rows, columns in split_map(size, decoder.reach):
        piece = image[None, :, rows.whole(decoder.patch), columns.whole(decoder.patch)]
        x = net.normalization(torch.from_numpy(piece.copy()).to(device))
        found = net.encode(x).value.view(
            len(code), rows.end - rows.first, columns.end - columns.first
        )
        code[:, rows.own(), columns.own()] = found[:, rows.inner(), columns.inner()].cpu()
    return code


@torch.inference_mode()
def decode_image(
    net: ConstrainedAutoencoder,
    code: np.ndarray,
    height: int,
    width: int,
    stored: Callable[[Tensor], Tensor],
) -> np.ndarray:
    """The image of a code [C, h, w], [colors, height, width]. stored: to the type of the stored data, of
    numbers in its units.
    """
    decoder = get_decoder(net)
    patch, device = decoder.patch, net.normalization.scale.device
    dtype = stored(torch.zeros(1)).numpy().dtype
    image = np.empty((net.model.shape[0], height, width), dtype)
    for rows, columns in split_map((code.shape[1], code.shape[2]), decoder.reach):
        piece = torch.from_numpy(code[None, :, rows.whole(), columns.whole()].copy()).to(device)
        parameters = decoder.sized(piece, piece.shape[2] * patch, piece.shape[3] * patch)
        raw = net.normalization.inverse(net.model.likelihood.mean(parameters))
        found = stored(raw)[0].cpu().numpy()
        place = image[
            :, rows.own(patch), columns.own(patch)
        ]  # at the image's end a part of a patch
        found = found[:, rows.inner(patch), columns.inner(patch)]
        place[:] = found[:, : place.shape[1], : place.shape[2]]
    return image
